"""One request's place in the engine, from its admission to its answer. Knows no thread and no model."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Self

from blip_serve.domain import AnyModel, Piece, Work

if TYPE_CHECKING:
    from blip_serve.engine.engine import Engine
    from blip_serve.engine.ticket import Ticket


class Reservation:
    """Room in the queue for works up to `deadline` (monotonic seconds). Made by `Engine.reserve` only.

    Leaving its `with` block gives the room back and cancels whatever of it has not ended.
    `queue_seconds`: from the first submission to the first step; `device_seconds`: the steps it took part in.
    """

    def __init__(self, engine: "Engine", size: int, deadline: float) -> None:
        self._engine = engine
        self.size = size
        self.deadline = deadline
        self.tickets: set[Ticket] = set()  # submitted and not ended; the engine's
        self.queue_seconds = 0.0
        self.device_seconds = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.close(self)

    @contextlib.contextmanager
    def preparing(self) -> Iterator[None]:
        """While inside, works of this request are about to come: a step may wait `max_wait` for them."""
        self._engine.expect(+1)
        try:
            yield
        finally:
            self._engine.expect(-1)

    def submit(
        self, model: AnyModel, works: Sequence[Work], on_piece: Callable[[Piece], None] | None = None
    ) -> list["Future[object]"]:
        """Queues works and returns their futures, in order; `on_piece` as `Ticket` has it.

        Raises `Unavailable` when the engine has stopped.
        """
        return self._engine.submit(self, model, works, on_piece)
