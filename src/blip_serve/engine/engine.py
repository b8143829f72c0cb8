"""The device thread: admit, launch, collect, deliver. Knows no tensors, no model and no HTTP."""

import copy
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from blip_serve.domain import AnyModel, Done, Failed, Outcome, Piece, Progress, Work
from blip_serve.engine.lanes import Lanes
from blip_serve.engine.reservation import Reservation
from blip_serve.engine.ticket import Ticket
from blip_serve.errors import DeviceLost, InternalError, OutOfMemory, Overloaded, ServiceError, Unavailable
from blip_serve.settings import EngineSettings
from blip_serve.telemetry import Telemetry

JOIN_S = 1.0
"""The least time a step under way has to end when the engine stops."""
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


class Engine:
    """Runs works on one device, from one thread, in steps of at most `max_step_cost`.

    No model is called under the engine's lock. A call may wait for the device, and a device may hang: whoever asks
    for room, leaves, or asks whether the device is lost waits for none of that. So the queue is the device thread's
    own; others leave under the lock what came (`_arrived`) and who left (`_left`), and it takes them in.
    """

    def __init__(self, settings: EngineSettings, telemetry: Telemetry) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._changed = threading.Condition()  # guards everything below down to _lanes; held over no call of a model
        self._reserved: set[Reservation] = set()
        self._reserved_cost = 0
        self._preparing = 0
        self._arrived: list[Ticket] = []
        self._left: list[Reservation] = []
        self._draining = False
        self._stopping = False
        self._death: BaseException | None = None
        self._lanes = Lanes(self._seat)  # device thread only, as are _again and _flight
        self._again: deque[Step] = deque()
        self._flight: deque[Step] = deque()
        self._busy_since: float | None = None  # when the device thread began its turn; written by it alone
        self._last_collected = 0.0
        self._thread = threading.Thread(target=self._run, name="device", daemon=True)
        telemetry.watch_queue(lambda: self._reserved_cost, lambda: len(self._reserved))

    def start(self) -> None:
        """Starts the device thread."""
        self._thread.start()

    def reserve(self, size: int, timeout: float) -> Reservation:
        """Room for a request of cost `size`, for `timeout` seconds; leave it by `with`.

        Raises `Overloaded` when the queue has no such room, `Unavailable` when the engine drains or has died.
        """
        with self._changed:
            self._refuse_when_stopped()
            if self._reserved_cost + size > self._settings.max_queue_cost:
                raise Overloaded("The queue is full.", retry_after=1)
            reservation = Reservation(self, size, time.monotonic() + timeout)
            self._reserved.add(reservation)
            self._reserved_cost += size
            return reservation

    def submit(
        self,
        owner: Reservation,
        model: AnyModel,
        works: Sequence[Work],
        on_piece: Callable[[Piece], None] | None = None,
    ) -> list["Future[object]"]:
        """See `Reservation.submit`."""
        if any(work.cost > self._settings.max_step_cost for work in works):
            raise ValueError("a work must fit into one step")
        tickets = [Ticket(work, model, owner, on_piece) for work in works]
        with self._changed:
            if owner not in self._reserved:
                self._refuse_when_stopped()
                raise Unavailable(DRAINING, retry_after=1)
            owner.tickets.update(tickets)
            self._arrived += tickets
            self._changed.notify_all()
        return [ticket.future for ticket in tickets]

    def expect(self, change: int) -> None:
        """See `Reservation.preparing`."""
        with self._changed:
            self._preparing += change
            if not self._preparing:  # a step need not wait for company any more
                self._changed.notify_all()

    def close(self, owner: Reservation) -> None:
        """See `Reservation`. A ticket on the device leaves it when its step ends, and reaches no further one."""
        with self._changed:
            unended = list(owner.tickets)
            if owner in self._reserved:
                self._reserved.remove(owner)
                self._reserved_cost -= owner.size
                self._left += [owner] if unended else []
            if unended or self._draining:  # nobody waits for it otherwise, and the device thread need not wake up
                self._changed.notify_all()
        for ticket in unended:
            ticket.future.cancel()

    def stop(self, drain_s: float) -> None:
        """Refuses new requests, lets those admitted end for `drain_s` seconds, then fails what is left. Blocks."""
        deadline = time.monotonic() + drain_s
        with self._changed:
            self._draining = True
            self._changed.wait_for(lambda: not self._reserved or self._death is not None, timeout=drain_s)
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
            self._lanes = Lanes(self._seat)  # what is still queued was failed, or will be by `stop`

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
            batch, dropped = self._lanes.take(self._settings.max_step_cost)
            self._see_off(dropped)
            if batch:
                return Step(batch)
            if dropped:
                continue  # their seats are free for those that found none
            if self._flight:
                return None
            self._wait(lambda: self._stopping or bool(self._arrived or self._left))
        self._take_in()
        return None

    def _take_in(self) -> None:
        """Queues what came, and sees off the tickets of those who left."""
        with self._changed:
            arrived, self._arrived = self._arrived, []
            left, self._left = self._left, []
        for ticket in arrived:
            self._lanes.put(ticket)
        for owner in left:
            self._see_off(self._lanes.discard(owner))

    def _wait_for_company(self) -> None:
        """Waits up to `max_wait` while a step is not full and more works are being prepared; never between steps."""
        if self._lanes and not self._lanes.begun and not self._flight:
            self._wait(self._has_company, self._settings.max_wait_ms / 1000)
            self._take_in()

    def _has_company(self) -> bool:
        queued = self._lanes.cost + sum(ticket.work.cost for ticket in self._arrived)
        return self._stopping or not self._preparing or queued >= self._settings.max_step_cost

    def _wait(self, until: Callable[[], bool], timeout: float | None = None) -> None:
        """Waits for others, with nothing on the device: that is no hang."""
        self._busy_since = None
        with self._changed:
            self._changed.wait_for(until, timeout)
        self._busy_since = time.monotonic()

    def _seat(self, ticket: Ticket) -> bool:
        """Whether the model holds what the ticket's work needs between its steps; a fault in that fails it alone."""
        try:
            return ticket.take_seat()
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
                    self._lanes.put(ticket)
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
        ticket.leave_seat()
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
            tickets = [ticket for owner in self._reserved for ticket in owner.tickets]
            self._reserved.clear()
            self._reserved_cost = 0
            self._arrived, self._left = [], []
        for ticket in tickets:
            ticket.fail(error)
