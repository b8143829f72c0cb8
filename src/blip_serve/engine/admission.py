"""Who has room in the queue, and which background requests wait for it. Knows no thread: the engine's lock guards it.

The cost of background requests is counted apart, so that they never take the room of an interactive one.
"""

import copy
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from blip_serve.engine.reservation import Reservation
from blip_serve.errors import DeadlineExceeded, Overloaded, ServiceError


@dataclass(eq=False, slots=True)
class Waiter:
    """A background request that waits for room: `future` ends in its reservation, or in an error."""

    reservation: Reservation
    future: "Future[Reservation]" = field(default_factory=Future)
    error: ServiceError | None = None

    def tell(self) -> None:
        """Resolves its future after it left the line. Call it without the lock: callbacks run here."""
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.reservation)


class Admission:
    """Admits requests up to a total cost of `max_cost` per class.

    At most `max_waiting` background requests wait in line.
    """

    def __init__(self, max_cost: int, max_waiting: int) -> None:
        self._max_cost = max_cost
        self._max_waiting = max_waiting
        self._line: deque[Waiter] = deque()
        self.reserved: set[Reservation] = set()
        self.cost = {"interactive": 0, "background": 0}

    @property
    def waiting(self) -> int:
        """How many wait for room."""
        return len(self._line)

    def enter(self, reservation: Reservation) -> None:
        """Gives a request room at once. Raises `Overloaded` where there is none."""
        if not self._has_room(reservation):
            raise Overloaded("The queue is full.", retry_after=1)
        self._add(reservation)

    def wait(self, reservation: Reservation) -> Waiter:
        """Puts a request at the end of the line.

        Raises `Overloaded` where the line is full, or the request is larger than all the room there is.
        """
        if len(self._line) >= self._max_waiting or reservation.size > self._max_cost:
            raise Overloaded("Too many background requests wait for room.", retry_after=10)
        self._line.append(waiter := Waiter(reservation))
        return waiter

    def leave(self, reservation: Reservation) -> bool:
        """Takes back a request's room; `False` where it had none."""
        if reservation not in self.reserved:
            return False
        self.reserved.remove(reservation)
        self.cost[reservation.work_class] -= reservation.size
        return True

    def advance(self) -> list[Waiter]:
        """Admits waiting requests in order while there is room, and fails those whose time is up.

        Returns both: the caller must `tell` them. Cancelled ones leave too.
        """
        told = [waiter for waiter in self._line if self._expired(waiter)]
        self._line = deque(waiter for waiter in self._line if waiter.error is None and not waiter.future.cancelled())
        while self._line and self._has_room(self._line[0].reservation):
            waiter = self._line.popleft()
            if waiter.future.set_running_or_notify_cancel():  # from here on it cannot be cancelled
                self._add(waiter.reservation)
                told.append(waiter)
        return told

    def fail_waiting(self, error: ServiceError) -> list[Waiter]:
        """Empties the line; those that waited are to be told `error`."""
        failed = [waiter for waiter in self._line if waiter.future.set_running_or_notify_cancel()]
        self._line.clear()
        for waiter in failed:
            waiter.error = copy.copy(error)  # each raises its own
        return failed

    def clear(self) -> list[Reservation]:
        """Takes back all room. Returns the reservations that had it."""
        had = list(self.reserved)
        self.reserved.clear()
        self.cost = dict.fromkeys(self.cost, 0)
        return had

    @staticmethod
    def _expired(waiter: Waiter) -> bool:
        if time.monotonic() < waiter.reservation.deadline or not waiter.future.set_running_or_notify_cancel():
            return False
        waiter.error = DeadlineExceeded("The request's time ran out while it waited for room in the queue.")
        return True

    def _has_room(self, reservation: Reservation) -> bool:
        return self.cost[reservation.work_class] + reservation.size <= self._max_cost

    def _add(self, reservation: Reservation) -> None:
        self.reserved.add(reservation)
        self.cost[reservation.work_class] += reservation.size
