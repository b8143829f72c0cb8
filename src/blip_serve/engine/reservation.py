"""A request in the engine, as data: its room in the queue, and its works. Knows no thread and no queue."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field

from blip_serve.domain import AnyModel, Piece, Work, WorkClass
from blip_serve.errors import DeadlineExceeded
from blip_serve.stages import Stages


@dataclass(eq=False, slots=True)
class Reservation:
    """Room in the queue for works of cost `size`, up to `deadline` (monotonic seconds). Made by the engine only.

    `queue_seconds`: from the first submission to the first step; `device_seconds`: the steps it took part in.
    `tickets`: works submitted and not ended. `stages`: is told when these ran, if the request is traced. Once works
    are submitted, only the engine changes it.
    """

    size: int
    deadline: float
    work_class: WorkClass = "interactive"
    queue_seconds: float = 0.0
    device_seconds: float = 0.0
    tickets: "set[Ticket]" = field(default_factory=set)
    stages: Stages | None = None


@dataclass(eq=False, slots=True)
class Ticket:
    """One submitted work. `future` ends in the work's result or an exception on every path.

    `on_piece` is given the pieces before that, on the device thread; it must neither wait nor raise. `admitted`:
    whether it holds its slots. `begun`: whether it has had a step.
    """

    work: Work
    model: AnyModel
    owner: Reservation
    on_piece: Callable[[Piece], None] | None = None
    future: "Future[object]" = field(default_factory=Future)
    submitted: float = field(default_factory=time.monotonic)
    admitted: bool = False
    begun: bool = False

    def ended(self) -> bool:
        """Whether the future is done. Fails it first if the deadline has passed."""
        if not self.future.done() and time.monotonic() >= self.owner.deadline:
            self.fail(DeadlineExceeded("The request's time ran out while it was queued."))
        return self.future.done()

    def take_slot(self) -> bool:
        """Takes the slots that the work needs. Returns whether enough were free. Device thread only."""
        self.admitted = self.model.admit(self.work)
        return self.admitted

    def free_slot(self) -> None:
        """Gives back what `take_slot` took. Device thread only."""
        if self.admitted:
            self.admitted = False
            self.model.release(self.work)

    def deliver(self, pieces: Sequence[Piece]) -> None:
        """Hands on pieces, unless the waiter left or asked for none."""
        if self.on_piece is not None and not self.future.done():
            for piece in pieces:
                self.on_piece(piece)

    def resolve(self, result: object) -> None:
        """Delivers the result, unless the waiter left."""
        with suppress(InvalidStateError):
            self.future.set_result(result)

    def fail(self, error: Exception) -> None:
        """Delivers an error, unless the waiter left or has an answer already."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)
