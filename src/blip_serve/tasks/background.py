"""What a background request waits for that an interactive one does not: room in the queue, and shared threads."""

import asyncio
from contextlib import AbstractAsyncContextManager

from blip_serve.engine.engine import Engine
from blip_serve.engine.reservation import Reservation
from blip_serve.errors import DeadlineExceeded
from blip_serve.images.reference import ImageSource, UrlImage

FETCHES = 16
"""Images that all background requests together fetch at once: half of what `images.fetch.max_concurrent` allows."""


async def room(engine: Engine, size: int, seconds: float) -> Reservation:
    """Room in the queue for a background request of cost `size`. `seconds`: for waiting and working together.

    Raises what `Engine.reserve_background` raises.
    """
    wanted = engine.reserve_background(size, seconds)
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.wrap_future(wanted)
    except TimeoutError:
        engine.withdraw(wanted)
        raise DeadlineExceeded("The request's time ran out while it waited for room in the queue.") from None
    except asyncio.CancelledError:
        engine.withdraw(wanted)
        raise
    finally:
        del wanted  # its error refers to this frame


class BackgroundBounds:
    """Limits how many of the shared threads background requests use at once.

    Of `workers` threads one is left free for interactive requests, if there are two.
    """

    def __init__(self, workers: int) -> None:
        self._workers = asyncio.Semaphore(max(1, workers - 1))
        self._fetches = asyncio.Semaphore(FETCHES)

    def worker(self) -> AbstractAsyncContextManager[None]:
        """To be held while a background request has a call on a worker thread."""
        return self._workers

    def load(self, source: ImageSource) -> AbstractAsyncContextManager[None]:
        """To be held while a background request loads an image."""
        return self._fetches if isinstance(source, UrlImage) else self._workers
