"""The device thread: admit, launch, collect, deliver. Knows no tensors, no model and no HTTP."""

import copy
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass

from blip_serve.domain import AnyModel, Done, Failed, Outcome, Piece, Progress, Work, WorkClass
from blip_serve.engine.admission import Admission, Waiter
from blip_serve.engine.reservation import Reservation, Ticket
from blip_serve.engine.scheduler import Scheduler
from blip_serve.engine.work_queue import WorkQueue
from blip_serve.errors import DeviceLost, InternalError, OutOfMemory, ServiceError, Unavailable
from blip_serve.settings import EngineSettings
from blip_serve.telemetry import Telemetry

JOIN_S = 1.0
"""The least time a step under way has to end when the engine stops."""
RECENT_S = 2.0
"""For so long after an interactive work was seen, background steps are small: the next one may come at any moment."""
DRAINING = "The service is shutting down."
DEAD = "The device has failed and the service is about to restart."


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


class Engine:
    """Runs works on one device, from one thread, in steps of at most `max_step_cost`.

    No model is called under the engine's lock. A call may wait for the device, and a device may hang. Whoever asks for
    room, leaves, or asks whether the device is lost must not wait for that. So the scheduler is the device thread's
    own. Other threads note under the lock what came (`_arrived`) and who left (`_left`), and it takes them in.
    """

    def __init__(self, settings: EngineSettings, telemetry: Telemetry) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._changed = threading.Condition()  # guards all down to _scheduler; held over no call of a model
        self._admission = Admission(settings.max_queue_cost, settings.max_background_waiting)
        self._preparing: dict[WorkClass, int] = {"interactive": 0, "background": 0}
        self._arrived: list[Ticket] = []
        self._left: list[Reservation] = []
        self._interactive_seen = -math.inf  # when interactive works last arrived, or were on the device
        self._draining = False
        self._stopping = False
        self._death: BaseException | None = None
        self._scheduler = Scheduler(settings, self._take_slot)  # device thread only, as are _again and _flight
        self._again: deque[Step] = deque()
        self._flight: deque[Step] = deque()
        self._busy_since: float | None = None  # when the device thread began its turn; written by it alone
        self._last_collected = 0.0
        self._thread = threading.Thread(target=self._run, name="device", daemon=True)
        telemetry.watch_queue(lambda: sum(self._admission.cost.values()), lambda: len(self._admission.reserved))
        telemetry.watch_background(lambda: self._admission.cost["background"], lambda: self._admission.waiting)

    def start(self) -> None:
        """Starts the device thread."""
        self._thread.start()

    def reserve(self, size: int, timeout: float) -> Reservation:
        """Room for an interactive request of cost `size`, for `timeout` seconds; to be closed.

        Raises `Overloaded` when the queue has no such room, `Unavailable` when the engine drains or has died.
        """
        now = time.monotonic()
        reservation = Reservation(size, now + timeout)
        with self._changed:
            self._refuse_when_stopped()
            self._admission.enter(reservation)
            self._interactive_seen = now
        return reservation

    @contextmanager
    def reserved(self, size: int, timeout: float) -> Iterator[Reservation]:
        """Like `reserve`; closes the reservation at the end of the `with` block."""
        reservation = self.reserve(size, timeout)
        try:
            yield reservation
        finally:
            self.close(reservation)

    def reserve_background(self, size: int, timeout: float) -> "Future[Reservation]":
        """Room for a background request of cost `size`: at once, or when those before it in line have theirs.

        Of the `timeout` seconds that the request has, the wait takes its part. The future ends in a reservation that is
        to be closed, or raises `DeadlineExceeded`, or `Unavailable` when the engine stops or dies. A deadline is looked
        at when the line moves; who wants to know sooner waits with a timeout. To give up a wait, see `withdraw`.

        Raises `Overloaded` where too many wait already, `Unavailable` when the engine drains or has died.
        """
        reservation = Reservation(size, time.monotonic() + timeout, "background")
        told: list[Waiter] = []
        try:
            with self._changed:
                self._refuse_when_stopped()
                told += self._admission.advance()  # those whose time is up leave the line
                future = self._admission.wait(reservation).future
                told += self._admission.advance()
        finally:
            _tell(told)
        future.add_done_callback(self._cancelled)
        return future

    def withdraw(self, wanted: "Future[Reservation]") -> None:
        """Gives up what `reserve_background` returned: leaves the line, or closes what came meanwhile."""
        if not wanted.cancel():
            wanted.add_done_callback(lambda done: None if done.exception() else self.close(done.result()))

    def submit(
        self,
        reservation: Reservation,
        model: AnyModel,
        works: Sequence[Work],
        on_piece: Callable[[Piece], None] | None = None,
    ) -> list["Future[object]"]:
        """Queues works and returns their futures, in order; `on_piece` as `Ticket` has it.

        Raises `Unavailable` when the reservation was closed or the engine has stopped.
        """
        if any(work.cost > self._settings.max_step_cost for work in works):
            raise ValueError("a work must fit into one step")
        tickets = [Ticket(work, model, reservation, on_piece) for work in works]
        with self._changed:
            if reservation not in self._admission.reserved:
                self._refuse_when_stopped()
                raise Unavailable(DRAINING, retry_after=1)
            reservation.tickets.update(tickets)
            self._arrived += tickets
            if reservation.work_class == "interactive":
                self._interactive_seen = time.monotonic()
            self._changed.notify_all()
        return [ticket.future for ticket in tickets]

    @contextmanager
    def preparing(self, reservation: Reservation) -> Iterator[None]:
        """While inside, works of this request are about to come: a step may wait `max_wait` for them."""
        self._expect(reservation.work_class, +1)
        try:
            yield
        finally:
            self._expect(reservation.work_class, -1)

    def _expect(self, work_class: WorkClass, change: int) -> None:
        with self._changed:
            self._preparing[work_class] += change
            if not self._preparing[work_class]:  # a step need not wait for company any more
                self._changed.notify_all()

    def close(self, reservation: Reservation) -> None:
        """Gives the room back and cancels what has not ended.

        A ticket on the device leaves it when its step ends, and reaches no further one.
        """
        with self._changed:
            unended = list(reservation.tickets)
            if self._admission.leave(reservation):
                self._left += [reservation] if unended else []
            told = self._admission.advance() if self._admission.waiting else []
            if unended or self._draining:  # nobody waits for it otherwise, and the device thread need not wake up
                self._changed.notify_all()
        for ticket in unended:
            ticket.future.cancel()
        _tell(told)

    def _cancelled(self, wanted: "Future[Reservation]") -> None:
        """Lets those go on who waited behind one that was cancelled."""
        if wanted.cancelled():
            with self._changed:
                told = self._admission.advance()
            _tell(told)

    def stop(self, drain_s: float) -> None:
        """Refuses new requests and those that wait for room, and lets those admitted end for `drain_s` seconds.

        Then fails what is left. Blocks.
        """
        deadline = time.monotonic() + drain_s
        with self._changed:
            self._draining = True
            waiting = self._admission.fail_waiting(Unavailable(DRAINING, retry_after=1))
        _tell(waiting)
        with self._changed:
            self._changed.wait_for(lambda: not self._admission.reserved or self._death is not None, timeout=drain_s)
            self._stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout=JOIN_S if self.dead else max(deadline - time.monotonic(), JOIN_S))
        self._abandon(Unavailable(DRAINING, retry_after=1))

    def trouble(self) -> str | None:
        """Why no new request should come here, or `None`: the thread has died, a step takes too long, it drains."""
        if self._death is not None:
            return "the device thread has died"
        if self._stuck_for(self._settings.stall_after_s):
            return "the device makes no progress"
        return "draining" if self._draining else None

    def lost(self) -> bool:
        """Whether the device does not come back: its thread died, or hangs in a step for longer than `exit_after_s`.

        Every waiter has been failed then.
        """
        if not self.dead and self._stuck_for(self._settings.exit_after_s):
            self.give_up(TimeoutError("the device hangs"))
        return self.dead

    @property
    def dead(self) -> bool:
        """Whether the device thread ended by a fault, or was given up; it does not come back."""
        return self._death is not None

    def _stuck_for(self, seconds: float) -> bool:
        since = self._busy_since
        return since is not None and time.monotonic() - since > seconds

    def give_up(self, death: BaseException) -> None:
        """Fails every waiter; nothing is launched any more. For a device that was found to be lost, from any thread."""
        with self._changed:
            self._death = death
            self._stopping = True
            self._changed.notify_all()
        self._abandon(Unavailable(DEAD, retry_after=5))
        self._telemetry.log.critical("device_lost", exc_info=death)

    def _refuse_when_stopped(self) -> None:
        if self._death is not None:
            raise Unavailable(DEAD, retry_after=5)
        if self._draining:
            raise Unavailable(DRAINING, retry_after=1)

    # The device thread

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except BaseException as error:
            self.give_up(error)
        finally:
            self._busy_since = None
            self._scheduler = Scheduler(
                self._settings, self._take_slot
            )  # what is still queued was failed, or will be by `stop`

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
        """The next step; `None` where there is none and a launch is under way, or the engine stops."""
        while not self._stopping:
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
            self._wait(lambda: self._stopping or bool(self._arrived or self._left))
        self._take_in()
        return None

    def _interactive_is_recent(self) -> bool:
        return time.monotonic() - self._interactive_seen < RECENT_S

    def _take_in(self) -> None:
        """Queues what came, and sees off the tickets of those who left."""
        with self._changed:
            arrived, self._arrived = self._arrived, []
            left, self._left = self._left, []
        for ticket in arrived:
            self._scheduler.put(ticket)
        for owner in left:
            self._see_off(self._scheduler.discard(owner))

    def _wait_for_company(self) -> None:
        """Waits up to `max_wait` while a step is not full and more works are being prepared; never between steps.

        Only works of one class keep each other company. A background step that has to be small does not wait.
        """
        if self._flight:
            return
        queue = self._scheduler.interactive
        if queue:
            self._wait_for_more(queue, "interactive")
        elif not self._interactive_is_recent():
            self._wait_for_more(self._scheduler.background, "background")

    def _wait_for_more(self, queue: WorkQueue, work_class: WorkClass) -> None:
        if queue and not queue.begun and not queue.slotless:
            self._wait(lambda: self._has_company(queue, work_class), self._settings.max_wait_ms / 1000)
            self._take_in()

    def _has_company(self, queue: WorkQueue, work_class: WorkClass) -> bool:
        """Whether there is nothing to wait for any more: also when an interactive work came, for a background step."""
        if self._stopping or not self._preparing[work_class]:
            return True
        arrived = [ticket for ticket in self._arrived if ticket.owner.work_class == work_class]
        if work_class == "background" and len(arrived) < len(self._arrived):
            return True
        return queue.cost + sum(ticket.work.cost for ticket in arrived) >= self._settings.max_step_cost

    def _wait(self, until: Callable[[], bool], timeout: float | None = None) -> None:
        """Waits for others, with nothing on the device: that is no hang."""
        self._busy_since = None
        with self._changed:
            self._changed.wait_for(until, timeout)
        self._busy_since = time.monotonic()

    def _take_slot(self, ticket: Ticket) -> bool:
        """Whether the model holds what the ticket's work needs between its steps; a fault in that fails it alone."""
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
            self._interactive_seen = step.started
        self._telemetry.step_started(step.phase, len(step.tickets))
        for owner, ticket in {ticket.owner: ticket for ticket in step.tickets}.items():
            if not owner.queue_seconds:
                owner.queue_seconds = step.started - ticket.submitted
                self._telemetry.queued(owner.queue_seconds)
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
        """Counts the step's time from where the one before it ended: two under way do not count twice."""
        now = time.monotonic()
        seconds = now - max(step.started, self._last_collected)
        self._last_collected = now
        if step.work_class == "interactive":
            self._interactive_seen = now
        self._telemetry.step_ended(step.phase, seconds)
        for owner in {ticket.owner for ticket in step.tickets}:
            owner.device_seconds += seconds

    def _step_failed(self, step: Step, error: Exception) -> None:
        """Fails the step's own works only; one without memory is tried again by halves, so that its neighbours live."""
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
        """Whether the ticket has ended: nobody waits for it, or its time is up."""
        if ticket.ended():
            self._end(ticket)
            return True
        return False

    def _end(self, ticket: Ticket) -> None:
        self._scheduler.free_slot(ticket)
        with self._changed:
            ticket.owner.tickets.discard(ticket)

    def _told(self, error: Exception) -> ServiceError:
        """What the waiter is told of a fault; its cause goes to the log, and no frame of it stays alive."""
        if isinstance(error, ServiceError):
            return copy.copy(error)
        self._telemetry.log.error("step_failed", exc_info=error)
        return InternalError("The model failed on this input.")

    def _abandon(self, error: ServiceError) -> None:
        """Fails every ticket there is: the device thread has ended, or is stuck for good."""
        with self._changed:
            tickets = [ticket for reservation in self._admission.clear() for ticket in reservation.tickets]
            waiting = self._admission.fail_waiting(error)
            self._arrived, self._left = [], []
        for ticket in tickets:
            ticket.fail(error)
        _tell(waiting)


def _tell(waiters: Sequence[Waiter]) -> None:
    """Ends the futures of those that left the line. Not under the lock: their callbacks run here."""
    for waiter in waiters:
        waiter.tell()
