"""The engine of one device: takes requests in, takes their works, and stops. Knows no tensors, no model and no HTTP."""

import atexit
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager

from blip_serve.domain import AnyModel, Piece, Work, WorkClass
from blip_serve.engine.admission import Admission, Waiter
from blip_serve.engine.device_thread import DeviceThread
from blip_serve.engine.inbox import Inbox
from blip_serve.engine.reservation import Reservation, Ticket
from blip_serve.errors import ServiceError, Unavailable
from blip_serve.settings import EngineSettings
from blip_serve.telemetry import Telemetry

JOIN_S = 1.0
"""Seconds that a step under way has at least, to end, when the engine stops."""
DRAINING = "The service is shutting down."
DEAD = "The device has failed and the service is about to restart."


class Engine:
    """Runs works on one device, from one thread, in steps of at most `max_step_cost`.

    Any thread may call any method. Only `stop` waits for the device.
    """

    def __init__(self, settings: EngineSettings, telemetry: Telemetry) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._inbox = Inbox()
        self._changed = self._inbox.changed  # guards all below but the device thread
        self._admission = Admission(settings.max_queue_cost, settings.max_background_waiting)
        self._draining = False
        self._death: BaseException | None = None
        self._device = DeviceThread(settings, telemetry, self._inbox, self.give_up)
        telemetry.watch_queue(lambda: sum(self._admission.cost.values()), lambda: len(self._admission.reserved))
        telemetry.watch_background(lambda: self._admission.cost["background"], lambda: self._admission.waiting)

    def start(self) -> None:
        """Starts the device thread. It is stopped when the interpreter exits, if `stop` was not called before."""
        self._device.start()
        atexit.register(self._quiet, os.getpid())

    def reserve(self, size: int, timeout: float) -> Reservation:
        """Reserves room for an interactive request of cost `size`, for `timeout` seconds. The caller must `close` it.

        Raises `Overloaded` when the queue has no such room, `Unavailable` when the engine drains or has died.
        """
        now = time.monotonic()
        reservation = Reservation(size, now + timeout)
        with self._changed:
            self._refuse_when_stopped()
            self._admission.enter(reservation)
            self._inbox.interactive_seen = now
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
        """Room for a background request of cost `size`: at once, or when its turn comes.

        The wait counts towards `timeout`, in seconds. The future ends in a reservation that is to be closed, or raises
        `DeadlineExceeded`, or `Unavailable` when the engine stops or dies. Deadlines are checked only when the line
        moves. To learn sooner, wait for the future with a timeout. To give up a wait, see `withdraw`.

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
        """Gives up what `reserve_background` returned: leaves the line, or closes the reservation that has come."""
        if not wanted.cancel():
            wanted.add_done_callback(lambda done: None if done.exception() else self.close(done.result()))

    def submit(
        self,
        reservation: Reservation,
        model: AnyModel,
        works: Sequence[Work],
        on_piece: Callable[[Piece], None] | None = None,
    ) -> list["Future[object]"]:
        """Queues works and returns their futures, in order; `on_piece`: see `Ticket`.

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
            self._inbox.arrived += tickets
            if reservation.work_class == "interactive":
                self._inbox.interactive_seen = time.monotonic()
            self._changed.notify_all()
        return [ticket.future for ticket in tickets]

    @contextmanager
    def preparing(self, reservation: Reservation) -> Iterator[None]:
        """Says that this request will soon submit works. A step may wait up to `max_wait_ms` for them."""
        self._expect(reservation.work_class, +1)
        try:
            yield
        finally:
            self._expect(reservation.work_class, -1)

    def _expect(self, work_class: WorkClass, change: int) -> None:
        with self._changed:
            self._inbox.preparing[work_class] += change
            if not self._inbox.preparing[work_class]:  # a step need not wait for company any more
                self._changed.notify_all()

    def close(self, reservation: Reservation) -> None:
        """Gives the room back and cancels what has not ended.

        A work on the device ends with its step and gets no other.
        """
        with self._changed:
            unended = list(reservation.tickets)
            if self._admission.leave(reservation):
                self._inbox.left += [reservation] if unended else []
            told = self._admission.advance() if self._admission.waiting else []
            if unended or self._draining:  # nobody waits for it otherwise, and the device thread need not wake up
                self._changed.notify_all()
        for ticket in unended:
            ticket.future.cancel()
        _tell(told)

    def _cancelled(self, wanted: "Future[Reservation]") -> None:
        """Moves the line on after a waiting request was cancelled."""
        if wanted.cancelled():
            with self._changed:
                told = self._admission.advance()
            _tell(told)

    def stop(self, drain_s: float) -> None:
        """Refuses new and waiting requests. Gives admitted ones `drain_s` seconds to end.

        Then fails what is left. Blocks.
        """
        atexit.unregister(self._quiet)
        deadline = time.monotonic() + drain_s
        with self._changed:
            self._draining = True
            waiting = self._admission.fail_waiting(Unavailable(DRAINING, retry_after=1))
        _tell(waiting)
        with self._changed:
            self._changed.wait_for(lambda: not self._admission.reserved or self._death is not None, timeout=drain_s)
            self._inbox.stopping = True
            self._changed.notify_all()
        self._device.join(JOIN_S if self.dead else max(deadline - time.monotonic(), JOIN_S))
        self._abandon(Unavailable(DRAINING, retry_after=1))

    def _quiet(self, process: int) -> None:
        """Lets the step under way end. The interpreter would end its thread in the middle of it, and C++ then aborts.

        `process`: the one with the thread; a forked one has none.
        """
        if os.getpid() == process and not self.dead:
            with self._changed:
                self._inbox.stopping = True
                self._changed.notify_all()
            self._device.join(JOIN_S)

    def trouble(self) -> str | None:
        """Why no new request should come here, or `None`: the thread has died, a step takes too long, it drains."""
        if self._death is not None:
            return "the device thread has died"
        if self._device.stuck_for(self._settings.stall_after_s):
            return "the device makes no progress"
        return "draining" if self._draining else None

    def lost(self) -> bool:
        """Whether the device will not come back: its thread died, or hangs in a step for longer than `exit_after_s`.

        All requests have been failed by then.
        """
        if not self.dead and self._device.stuck_for(self._settings.exit_after_s):
            self.give_up(TimeoutError("the device hangs"))
        return self.dead

    @property
    def dead(self) -> bool:
        """Whether the device thread ended by a fault, or was given up; it does not come back."""
        return self._death is not None

    def give_up(self, death: BaseException) -> None:
        """Fails every request and stops launching. Any thread calls it that finds the device lost."""
        with self._changed:
            self._death = death
            self._inbox.stopping = True
            self._changed.notify_all()
        self._abandon(Unavailable(DEAD, retry_after=5))
        self._telemetry.log.critical("device_lost", exc_info=death)

    def _refuse_when_stopped(self) -> None:
        if self._death is not None:
            raise Unavailable(DEAD, retry_after=5)
        if self._draining:
            raise Unavailable(DRAINING, retry_after=1)

    def _abandon(self, error: ServiceError) -> None:
        """Fails every ticket there is: the device thread has ended, or is stuck for good."""
        with self._changed:
            tickets = [ticket for reservation in self._admission.clear() for ticket in reservation.tickets]
            waiting = self._admission.fail_waiting(error)
            self._inbox.arrived, self._inbox.left = [], []
        for ticket in tickets:
            ticket.fail(error)
        _tell(waiting)


def _tell(waiters: Sequence[Waiter]) -> None:
    """Resolves the futures of requests that left the line. Call it without the lock: their callbacks run here."""
    for waiter in waiters:
        waiter.tell()
