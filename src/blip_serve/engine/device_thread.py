"""The device thread: takes works, launches, collects, delivers. Knows no tensors, no model and no HTTP."""

import copy
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from blip_serve.domain import IMAGE_COST, AnyModel, Done, Failed, Outcome, Progress, WorkClass
from blip_serve.engine.inbox import Inbox
from blip_serve.engine.reservation import Ticket
from blip_serve.engine.scheduler import Scheduler
from blip_serve.engine.work_queue import WorkQueue
from blip_serve.errors import DeviceLost, InternalError, OutOfMemory, ServiceError
from blip_serve.settings import EngineSettings
from blip_serve.telemetry import Telemetry

RECENT_S = 2.0
"""Seconds after an interactive work in which background steps stay small, because another may come."""


@dataclass(eq=False, slots=True)
class Step:
    """Tickets that go to the device together."""

    tickets: list[Ticket]
    launched: object = None
    started: float = 0.0

    @property
    def model(self) -> AnyModel:
        """The one model of all its tickets."""
        return self.tickets[0].model

    @property
    def phase(self) -> str:
        """The one phase of all its tickets."""
        return self.tickets[0].work.phase

    @property
    def work_class(self) -> WorkClass:
        """The one class of all its tickets."""
        return self.tickets[0].owner.work_class


class DeviceThread:
    """Runs queued works in steps. It shares only the `Inbox` with other threads.

    `on_death` is called, on this thread, with the fault that ends it.
    """

    def __init__(
        self,
        settings: EngineSettings,
        telemetry: Telemetry,
        inbox: Inbox,
        on_death: Callable[[BaseException], None],
    ) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._inbox = inbox
        self._on_death = on_death
        self._scheduler = Scheduler(settings, self._take_slot)
        self._again: deque[Step] = deque()
        self._flight: deque[Step] = deque()
        self._busy_since: float | None = None  # when the turn began
        self._last_collected = 0.0
        self._thread = threading.Thread(target=self._run, name="device", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Waits for its end, for so long at most."""
        if self._thread.ident is not None:
            self._thread.join(timeout=seconds)

    def stuck_for(self, seconds: float) -> bool:
        """Whether its current turn has lasted longer than `seconds`. Any thread may ask."""
        since = self._busy_since
        return since is not None and time.monotonic() - since > seconds

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except BaseException as error:
            self._on_death(error)
        finally:
            self._busy_since = None
            # What is still queued was failed, or will be when the engine stops.
            self._scheduler = Scheduler(self._settings, self._take_slot)

    def _turn(self) -> bool:
        """One step further: launches the next step, and collects the oldest once enough are under way."""
        self._busy_since = time.monotonic()
        step = self._again.popleft() if self._again else self._next_step()
        if step is not None:
            self._launch(step)
        elif not self._flight:
            return False
        if self._flight and (step is None or len(self._flight) >= self._flight[0].model.depth):
            self._collect(self._flight.popleft())
        return True

    def _next_step(self) -> Step | None:
        """The next step; `None` if no work can run and a step is on the device, or if the engine stops."""
        while not self._inbox.stopping:
            self._take_in()
            self._wait_for_company()
            running = [step.work_class for step in self._flight]
            batch, dropped = self._scheduler.take(self._interactive_is_recent(), running)
            self._see_off(dropped)
            if batch:
                return Step(batch)
            if dropped:
                continue  # their slots are free for those that found none
            if self._flight:
                return None
            self._wait(lambda: self._inbox.stopping or bool(self._inbox.arrived or self._inbox.left))
        self._take_in()
        return None

    def _interactive_is_recent(self) -> bool:
        return time.monotonic() - self._inbox.interactive_seen < RECENT_S

    def _take_in(self) -> None:
        """Queues new tickets. Drops the tickets of closed requests."""
        with self._inbox.changed:
            arrived, self._inbox.arrived = self._inbox.arrived, []
            left, self._inbox.left = self._inbox.left, []
        for ticket in arrived:
            self._scheduler.put(ticket)
        for owner in left:
            self._see_off(self._scheduler.discard(owner))

    def _wait_for_company(self) -> None:
        """Waits up to `max_wait_ms` while a step is not full and more works are being prepared.

        Never while a step is on the device.

        A step waits only for works of its own class. A background step also waits if an interactive work is being
        prepared, so that this goes first.
        """
        if self._flight:
            return
        scheduler = self._scheduler
        if scheduler.interactive.count:
            self._wait_for_more(scheduler.interactive, "interactive", self._settings.max_step_cost)
        elif scheduler.background.count and self._inbox.preparing["interactive"]:
            self._wait(self._no_interactive_comes, self._settings.max_wait_ms / 1000)
            self._take_in()
        else:
            full = IMAGE_COST if self._interactive_is_recent() else self._settings.max_step_cost
            self._wait_for_more(scheduler.background, "background", full)

    def _wait_for_more(self, queue: WorkQueue, work_class: WorkClass, full: int) -> None:
        if queue.count and not queue.begun and not queue.slotless:
            self._wait(lambda: self._has_company(queue, work_class, full), self._settings.max_wait_ms / 1000)
            self._take_in()

    def _no_interactive_comes(self) -> bool:
        """Whether an interactive work that was being prepared is here, or none is prepared any more."""
        inbox = self._inbox
        came = any(ticket.owner.work_class == "interactive" for ticket in inbox.arrived)
        return inbox.stopping or not inbox.preparing["interactive"] or came

    def _has_company(self, queue: WorkQueue, work_class: WorkClass, full: int) -> bool:
        """Whether to stop waiting.

        True if the step is full, nothing more is being prepared, or an interactive work came while a background step
        waited.
        """
        if self._inbox.stopping or not self._inbox.preparing[work_class]:
            return True
        arrived = [ticket for ticket in self._inbox.arrived if ticket.owner.work_class == work_class]
        if work_class == "background" and len(arrived) < len(self._inbox.arrived):
            return True
        return queue.cost + sum(ticket.work.cost for ticket in arrived) >= full

    def _wait(self, until: Callable[[], bool], timeout: float | None = None) -> None:
        """Waits with nothing on the device, so the time does not count as a hang."""
        self._busy_since = None
        with self._inbox.changed:
            self._inbox.changed.wait_for(until, timeout)
        self._busy_since = time.monotonic()

    def _take_slot(self, ticket: Ticket) -> bool:
        """Takes the slots of the ticket's work; returns whether it has them. An error here fails this ticket only."""
        try:
            return ticket.take_slot()
        except DeviceLost:
            raise
        except Exception as error:
            ticket.fail(self._told(error))
            return False

    def _see_off(self, tickets: Sequence[Ticket]) -> None:
        """Ends tickets that left the queue."""
        for ticket in tickets:
            self._end(ticket)

    def _launch(self, step: Step) -> None:
        step.tickets = [ticket for ticket in step.tickets if not self._let_go(ticket)]
        if not step.tickets:
            return
        step.started = time.monotonic()
        if step.work_class == "interactive":
            self._inbox.interactive_seen = step.started
        self._telemetry.step_started(step.phase, len(step.tickets))
        for owner, ticket in {ticket.owner: ticket for ticket in step.tickets}.items():
            if not owner.queue_seconds:
                owner.queue_seconds = step.started - ticket.submitted
                self._telemetry.queued(owner.queue_seconds)
                if owner.stages is not None:
                    owner.stages.ran("queue", ticket.submitted, step.started)
        try:
            step.launched = step.model.launch([ticket.work for ticket in step.tickets])
        except DeviceLost:
            raise
        except Exception as error:
            self._step_failed(step, error)
        else:
            self._flight.append(step)

    def _collect(self, step: Step) -> None:
        try:
            outcomes = list(zip(step.tickets, step.model.collect(step.launched), strict=True))
        except DeviceLost:
            raise
        except Exception as error:
            self._step_failed(step, error)
            return
        self._note_time(step)
        for ticket, outcome in outcomes:
            self._deliver(ticket, outcome)

    def _note_time(self, step: Step) -> None:
        """Counts the step's time from the end of the step before it, so overlapping steps are not counted twice."""
        now = time.monotonic()
        seconds = now - max(step.started, self._last_collected)
        self._last_collected = now
        if step.work_class == "interactive":
            self._inbox.interactive_seen = now
        self._telemetry.step_ended(step.phase, seconds)
        for owner in {ticket.owner for ticket in step.tickets}:
            owner.device_seconds += seconds
            if owner.stages is not None:
                owner.stages.stepped(step.phase, step.started, now)

    def _step_failed(self, step: Step, error: Exception) -> None:
        """Fails the step's own works only; a step that ran out of memory is split in halves and tried again."""
        if isinstance(error, OutOfMemory) and len(step.tickets) > 1:
            middle = len(step.tickets) // 2
            self._again += [Step(step.tickets[:middle]), Step(step.tickets[middle:])]
            return
        told = self._told(error)
        for ticket in step.tickets:
            self._end(ticket)
            ticket.fail(copy.copy(told))

    def _deliver(self, ticket: Ticket, outcome: Outcome) -> None:
        match outcome:
            case Progress(cost=cost) if cost > self._settings.max_step_cost:
                self._end(ticket)
                ticket.fail(self._told(ValueError(f"a step of cost {cost} is over the limit")))
            case Progress(phase, cost, pieces):
                ticket.work.phase, ticket.work.cost, ticket.begun = phase, cost, True
                ticket.deliver(pieces)
                if not self._let_go(ticket):
                    self._scheduler.put(ticket)
            case Done(result, pieces):
                self._end(ticket)
                ticket.deliver(pieces)
                ticket.resolve(result)
            case Failed(error):
                self._end(ticket)
                ticket.fail(self._told(error))

    def _let_go(self, ticket: Ticket) -> bool:
        """Ends the ticket if nobody waits for it or its time is up; returns whether it did."""
        if ticket.ended():
            self._end(ticket)
            return True
        return False

    def _end(self, ticket: Ticket) -> None:
        self._scheduler.free_slot(ticket)
        with self._inbox.changed:
            ticket.owner.tickets.discard(ticket)

    def _told(self, error: Exception) -> ServiceError:
        """The error to report. Its cause goes to the log.

        The traceback is not kept: it would keep the request in memory.
        """
        if isinstance(error, ServiceError):
            return copy.copy(error)
        self._telemetry.log.error("step_failed", exc_info=error)
        return InternalError("The model failed on this input.")
