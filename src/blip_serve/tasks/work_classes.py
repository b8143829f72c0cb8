"""What a request's class of work means before the engine: how it is admitted, and its part of the shared threads."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from blip_serve.domain import WorkClass
from blip_serve.engine.engine import Engine
from blip_serve.engine.reservation import Reservation
from blip_serve.errors import DeadlineExceeded
from blip_serve.images.reference import ImageSource, UrlImage

BACKGROUND_FETCHES = 16
"""Images that all background requests together fetch at once: half of what `images.fetch.max_concurrent` allows."""


@asynccontextmanager
async def admitted(engine: Engine, work_class: WorkClass, size: int, seconds: float) -> AsyncIterator[Reservation]:
    """Room for a request of cost `size`, for `seconds`. A background request waits for it.

    Raises what `Engine.reserve` and `Engine.reserve_background` raise.
    """
    if work_class == "interactive":
        reservation = engine.reserve(size, seconds)
    else:
        reservation = await _in_turn(engine, size, seconds)
    try:
        yield reservation
    finally:
        engine.close(reservation)


async def _in_turn(engine: Engine, size: int, seconds: float) -> Reservation:
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
    """How much of what all requests share background requests take at once. Interactive requests never wait here.

    Of `workers` threads one is left free for interactive requests, where there are two.
    """

    def __init__(self, workers: int) -> None:
        self._workers = asyncio.Semaphore(max(1, workers - 1))
        self._fetches = asyncio.Semaphore(BACKGROUND_FETCHES)

    def worker(self, work_class: WorkClass) -> AbstractAsyncContextManager[None]:
        """To be held while a call for a request of `work_class` is on a worker, or waits for one."""
        return self._workers if work_class == "background" else nullcontext()

    def load(self, work_class: WorkClass, source: ImageSource) -> AbstractAsyncContextManager[None]:
        """To be held while an image is loaded for a request of `work_class`."""
        if work_class == "background" and isinstance(source, UrlImage):
            return self._fetches
        return self.worker(work_class)
