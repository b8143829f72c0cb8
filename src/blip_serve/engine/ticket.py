"""A work on its way through the engine: whose it is, and where its result goes."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field

from blip_serve.domain import AnyModel, Piece, Work
from blip_serve.engine.reservation import Reservation
from blip_serve.errors import DeadlineExceeded


@dataclass(eq=False, slots=True)
class Ticket:
    """One submitted work. `future` ends in the work's result or an exception on every path.

    `on_piece` is given the pieces before that, on the device thread; it must neither wait nor raise.
    """

    work: Work
    model: AnyModel
    owner: Reservation
    on_piece: Callable[[Piece], None] | None = None
    future: "Future[object]" = field(default_factory=Future)
    submitted: float = field(default_factory=time.monotonic)
    seated: bool = False
    begun: bool = False

    def ended(self) -> bool:
        """Whether nobody waits any more, or time is up; the latter is told to the waiter here."""
        if not self.future.done() and time.monotonic() >= self.owner.deadline:
            self.fail(DeadlineExceeded("The request's time ran out while it was queued."))
        return self.future.done()

    def take_seat(self) -> bool:
        """Asks the model to hold what the work needs between its steps; whether it does. Device thread only."""
        self.seated = self.model.admit(self.work)
        return self.seated

    def leave_seat(self) -> None:
        """Gives back what `take_seat` took. Device thread only."""
        if self.seated:
            self.seated = False
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
