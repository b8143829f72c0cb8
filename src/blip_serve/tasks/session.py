"""One request on its way: room in the queue, a leased model, its images, its works. Shared by all tasks."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from blip_serve.catalogue import ModelCard
from blip_serve.domain import Caller, ImageBytes, Item, Piece, Prepared, ScoringProtocol, image_of
from blip_serve.engine.engine import Engine
from blip_serve.engine.reservation import Reservation
from blip_serve.errors import DeadlineExceeded
from blip_serve.fair_threads import FairThreads
from blip_serve.images.loader import ImageLoader
from blip_serve.images.reference import ImageSource
from blip_serve.registry import Lease, Registry
from blip_serve.settings import LimitSettings, Settings
from blip_serve.tasks.asked import Asked
from blip_serve.tasks.request import Request, Served, ServedTier, Timings, Usage, check_options, work_class
from blip_serve.tasks.work_classes import BackgroundBounds, admitted
from blip_serve.telemetry import Telemetry

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parts:
    """What every session works with. `workers` do what takes a moment; `decoders` decode images."""

    settings: Settings
    registry: Registry
    engine: Engine
    images: ImageLoader
    workers: Executor
    decoders: FairThreads
    bounds: BackgroundBounds
    asked: Asked
    telemetry: Telemetry


@dataclass(frozen=True, slots=True)
class Started:
    """An item whose works are queued."""

    prepared: Prepared
    futures: "list[asyncio.Future[Any]]"

    async def results(self) -> list[Any]:
        """The item's results in order. To be asked for once."""
        try:
            pieces = await asyncio.gather(*self.futures)
        finally:
            self.futures.clear()  # a future refers to its error, which refers to this frame: a cycle, images and all
        found = dict(numbered for piece in pieces for numbered in piece)
        return [found[position] for position in range(len(found))]


class Session:
    """An admitted request with its model. Made by `Sessions.open` only."""

    def __init__(
        self, parts: Parts, request: Request[Any], caller: Caller, lease: Lease, reservation: Reservation
    ) -> None:
        self.lease = lease
        self.protocol: ScoringProtocol = request.protocol or lease.protocol
        self.service_tier: ServedTier = "flex" if reservation.work_class == "background" else "default"
        self._parts = parts
        self._caller = caller
        self._reservation = reservation
        self._preparing = asyncio.Semaphore(parts.settings.engine.workers)
        self._first = True
        self._fetch_seconds = 0.0
        self._decode_seconds = 0.0

    async def load(self, source: ImageSource) -> ImageBytes:
        """An image's bytes; a request's first, if small, are read at once. Raises `InvalidInput` naming its field."""
        started = time.monotonic()
        first, self._first = self._first, False
        async with self._parts.bounds.load(self._reservation.work_class, source):
            image = await self._parts.images.load(source, here=first)
        seconds = time.monotonic() - started
        self._parts.telemetry.image_fetched(seconds)
        self._fetch_seconds = max(self._fetch_seconds, seconds)
        return image

    async def run(self, item: Item) -> tuple[Prepared, list[Any]]:
        """Prepares an item and runs its works. Returns what was prepared, and the item's results in order.

        Raises `InvalidInput` naming the item's field, and what the engine says of a work that failed.
        """
        started = await self.start(item)
        return started.prepared, await started.results()

    async def start(self, item: Item, on_piece: Callable[[Piece], None] | None = None) -> "Started":
        """Like `run`, but returns once the item's works are queued; `on_piece` is given pieces on the event loop."""
        loop = asyncio.get_running_loop()
        async with self._preparing:  # a request of many images does not queue them all before a small one's
            with self._parts.engine.preparing(self._reservation):
                prepared = await self._prepare(item)
                receive = None if on_piece is None else _on_loop(loop, on_piece)
                futures = self._parts.engine.submit(self._reservation, self.lease.model, prepared.works, receive)
        self._decode_seconds += prepared.decode_seconds
        if image := image_of(item):
            prepared = self._without_others(image, prepared)
        return Started(prepared, [asyncio.wrap_future(future) for future in futures])

    async def until_deadline(self, parts: Sequence[Coroutine[None, None, T]]) -> list[T | None]:
        """Runs `parts` side by side and returns their results; `None` for those that did not end in time.

        The first to fail cancels the others and is raised. For a session that is not timed.
        """
        left = max(0.0, self._reservation.deadline - time.monotonic())
        tasks = [asyncio.ensure_future(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_EXCEPTION)
            return [task.result() if task in done else None for task in tasks]
        finally:
            await _end(tasks)
            del tasks

    def served(self, usage: Usage) -> Served:
        """What every result says of the request, which ends with it. Counts what the request used for its caller."""
        self._parts.telemetry.used(
            self._caller.name,
            self.lease.id,
            image=usage.image_tokens,
            text=usage.text_tokens,
            cached=usage.cached_tokens,
            generated=usage.generated_tokens,
        )
        reservation = self._reservation
        return Served(
            model=self.lease.name,
            protocol=self.protocol,
            service_tier=self.service_tier,
            usage=usage,
            timings=Timings(
                self._fetch_seconds, self._decode_seconds, reservation.queue_seconds, reservation.device_seconds
            ),
        )

    async def _prepare(self, item: Item) -> Prepared:
        """On a worker where that takes a moment. What has an image to decode waits for its caller's turn."""
        model, image = self.lease.model, image_of(item)
        known = None if image is None else model.known(item)  # and stays so while this refers to it
        if image is None or known is not None:
            async with self._parts.bounds.worker(self._reservation.work_class):
                return await asyncio.get_running_loop().run_in_executor(self._parts.workers, model.prepare, item)
        caller, image_of_model = self._caller.address or self._caller.name, (self.lease.id, image.digest)
        return await self._parts.decoders.run(
            caller,
            image_of_model,
            self._reservation.deadline,
            partial(model.prepare, item),
            self._reservation.work_class,
        )

    def _without_others(self, image: ImageBytes, prepared: Prepared) -> Prepared:
        """What was prepared, without what other callers' requests saved: the caller is not told of those."""
        known = bool(prepared.cached_tokens)
        self._parts.telemetry.image_prepared(self.lease.id, known, prepared.decode_seconds)
        own = self._parts.asked.again(self._caller.name, self.lease.id, image.digest, known=known)
        return prepared if own else replace(prepared, cached_tokens=0)


class Sessions:
    """Opens sessions: the one way from a task to the registry and the engine."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.limits: LimitSettings = parts.settings.limits

    def card(self, request: Request[Any], caller: Caller) -> ModelCard:
        """What is known of the request's model before it is loaded. Raises as `Directory.choose`."""
        return self._parts.registry.card(request.model, request.needs, caller)

    @asynccontextmanager
    async def open(
        self, request: Request[Any], caller: Caller, cost: int, timed: bool = True
    ) -> AsyncIterator[Session]:
        """A session for a request that weighs `cost`. Leaving it cancels what has not ended.

        A background request waits for room; an interactive one is refused where there is none. Not `timed`: what is
        done in the session keeps the request's time by itself, by `Session.until_deadline`.

        Raises `Overloaded` before any work is done, what `Registry.lease` raises, and `DeadlineExceeded`.
        """
        check_options(request)
        parts, kind = self._parts, work_class(request, caller)
        async with (
            admitted(parts.engine, kind, cost, parts.settings.server.timeout_s(kind)) as reservation,
            parts.registry.lease(request.model, request.needs, reservation.deadline, caller) as lease,
        ):
            try:
                async with asyncio.timeout(max(0.0, reservation.deadline - time.monotonic()) if timed else None):
                    yield Session(parts, request, caller, lease, reservation)
            except TimeoutError:
                raise DeadlineExceeded("The request's time ran out.") from None


def _on_loop(loop: asyncio.AbstractEventLoop, receive: Callable[[Piece], None]) -> Callable[[Piece], None]:
    """Calls `receive` on the loop, from any thread."""

    def hand_over(piece: Piece) -> None:
        with suppress(RuntimeError):  # the loop is gone, and whoever waited with it
            loop.call_soon_threadsafe(receive, piece)

    return hand_over


async def all_of(parts: Sequence[Coroutine[None, None, T]]) -> list[T]:
    """Runs `parts` side by side and returns their results. The first to fail cancels the others and is raised.

    A `TaskGroup` would raise a group, which the error in it refers back to: the request's images would stay in memory
    until the garbage collector comes by.
    """
    if len(parts) == 1:  # as most requests have it: no task, and no turns of the loop for its start and its end
        return [await parts[0]]
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        await _end(tasks)
        del tasks


async def _end(tasks: "Sequence[asyncio.Task[T]]") -> None:
    """Cancels what still runs and waits for it. Errors of what failed meanwhile are dropped."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
