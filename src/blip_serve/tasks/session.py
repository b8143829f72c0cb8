"""A session is one admitted request: its room in the queue, its model, its images, its works. All tasks use it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar, get_args

from blip_serve.catalogue import ModelCard
from blip_serve.domain import Caller, ImageBytes, Item, Piece, Prepared, ScoringProtocol, WorkClass, image_of
from blip_serve.engine.engine import Engine
from blip_serve.engine.reservation import Reservation
from blip_serve.errors import DeadlineExceeded
from blip_serve.fair_threads import FairThreads
from blip_serve.images.loader import ImageLoader
from blip_serve.images.reference import ImageSource
from blip_serve.registry import Lease, Registry
from blip_serve.settings import LimitSettings, Settings
from blip_serve.stages import Stages
from blip_serve.tasks.asked import Asked
from blip_serve.tasks.background import BackgroundBounds, room
from blip_serve.tasks.request import Request, Served, ServedTier, Timings, Usage, work_class
from blip_serve.telemetry import Telemetry

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of the service that sessions share. `workers`: threads for short calls. `decoders`: decode images."""

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
        """The item's results in order. Call this only once."""
        try:
            pieces = await asyncio.gather(*self.futures)
        finally:
            self.futures.clear()  # breaks the cycle future -> error -> this frame, which would keep the images
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
        self._bounds = parts.bounds if reservation.work_class == "background" else None
        self._preparing = asyncio.Semaphore(parts.settings.workers)
        self._stages = reservation.stages
        self._first = True
        self._fetch_seconds = 0.0
        self._decode_seconds = 0.0

    async def load(self, source: ImageSource) -> ImageBytes:
        """Loads an image. Raises `InvalidInput` that names its field.

        The request's first image is read on the event loop if it is small.
        """
        started = time.monotonic()
        first, self._first = self._first, False
        async with self._bounds.load(source) if self._bounds else nullcontext():
            image = await self._parts.images.load(source, here=first)
        seconds = time.monotonic() - started
        self._parts.telemetry.image_fetched(seconds)
        self._fetch_seconds = max(self._fetch_seconds, seconds)
        if self._stages is not None:
            self._stages.ran("fetch", started, started + seconds)
        return image

    async def run(self, item: Item) -> tuple[Prepared, list[Any]]:
        """Prepares an item and runs its works. Returns the prepared item, and its results in order.

        Raises `InvalidInput` that names the item's field, and the error of a work that failed.
        """
        started = await self.start(item)
        return started.prepared, await started.results()

    async def start(self, item: Item, on_piece: Callable[[Piece], None] | None = None) -> "Started":
        """Like `run`, but returns once the works are queued. Calls `on_piece` on the event loop for each piece."""
        loop = asyncio.get_running_loop()
        began = time.monotonic()
        async with self._preparing:  # so a large request does not block the queue for a small one
            with self._parts.engine.preparing(self._reservation):
                prepared = await self._prepare(item)
                receive = None if on_piece is None else _on_loop(loop, on_piece)
                futures = self._parts.engine.submit(self._reservation, self.lease.model, prepared.works, receive)
        self._decode_seconds += prepared.decode_seconds
        if self._stages is not None:
            self._stages.ran("prepare", began, time.monotonic())
        if image := image_of(item):
            prepared = self._hide_foreign_cache(image, prepared)
        return Started(prepared, [asyncio.wrap_future(future) for future in futures])

    async def work(self, call: Callable[[], T]) -> T:
        """What `call` returns, on a worker. Others' items are prepared between the calls of one session."""
        async with self._preparing:
            return await self._on_worker(call)

    async def until_deadline(self, parts: Sequence[Coroutine[None, None, T]]) -> list[T | None]:
        """Runs `parts` concurrently and returns their results; `None` for a part that did not end in time.

        The first error cancels the other parts and is raised. Use it in a session opened with `timed=False`.
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
        """The fields that every result has. Also records the request's usage, so call it once, at the end."""
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
        """Prepares an item on a worker. An image is decoded on a decoder thread; these take callers in turn."""
        model, image = self.lease.model, image_of(item)
        known = None if image is None else model.known(item)  # the image stays cached while this refers to it
        prepare: Callable[[], Prepared] = partial(model.prepare, item)
        if image is None or known is not None:
            return await self._on_worker(prepare)
        if self._stages is not None:
            prepare = self._stages.timing("decode", prepare)
        caller, image_of_model = self._caller.address or self._caller.name, (self.lease.id, image.digest)
        return await self._parts.decoders.run(
            caller,
            image_of_model,
            self._reservation.deadline,
            prepare,
            self._reservation.work_class,
        )

    async def _on_worker(self, call: Callable[[], T]) -> T:
        async with self._bounds.worker() if self._bounds else nullcontext():
            return await asyncio.get_running_loop().run_in_executor(self._parts.workers, call)

    def _hide_foreign_cache(self, image: ImageBytes, prepared: Prepared) -> Prepared:
        """Hides `cached_tokens` if another caller's request filled the cache: this caller must not learn of it."""
        known = bool(prepared.cached_tokens)
        self._parts.telemetry.image_prepared(self.lease.id, known, prepared.decode_seconds)
        own = self._parts.asked.again(self._caller.name, self.lease.id, image.digest, known=known)
        return prepared if own else replace(prepared, cached_tokens=0)


class Sessions:
    """Opens sessions. Tasks reach the registry and the engine only through a session."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.limits: LimitSettings = parts.settings.limits
        self.room = parts.settings.engine.max_queue_cost
        """What the queue holds. A request whose texts could cost more is admitted at this: it takes the whole queue."""
        self._seconds = {kind: parts.settings.server.timeout_s(kind) for kind in get_args(WorkClass)}

    def card(self, request: Request[Any], caller: Caller) -> ModelCard:
        """The card of the request's model, which may not be loaded yet. Raises what `Directory.choose` raises."""
        return self._parts.registry.directory.choose(request.model, request.needs, caller).model.card

    @asynccontextmanager
    async def open(
        self, request: Request[Any], caller: Caller, cost: int, timed: bool = True
    ) -> AsyncIterator[Session]:
        """A session for a request of the estimated `cost`. Leaving it cancels works that have not ended.

        A background request waits for room in the queue; an interactive one is refused if there is none. `timed`:
        whether the session ends at the request's deadline. Otherwise use `Session.until_deadline` inside it.

        Raises `Overloaded` before any work is done, what `Registry.lease` raises, and `DeadlineExceeded`.
        """
        traced = self._parts.telemetry.traced()
        asked = time.monotonic()
        reservation = await self._reserve(work_class(request, caller), cost)
        if traced is not None and traced.stages is not None:
            reservation.stages = traced.stages
            traced.stages.waited("admission", asked)
            traced.asked(request.task_name)
        try:
            async with self._leased(request, caller, reservation) as lease:
                if traced is not None:
                    traced.leased(lease.id)
                left = max(0.0, reservation.deadline - time.monotonic())
                async with asyncio.timeout(left if timed else None):
                    yield Session(self._parts, request, caller, lease, reservation)
        except TimeoutError:
            raise DeadlineExceeded("The request's time ran out.") from None
        finally:
            self._parts.engine.close(reservation)

    def _leased(
        self, request: Request[Any], caller: Caller, reservation: Reservation
    ) -> AbstractAsyncContextManager[Lease]:
        lease = self._parts.registry.lease(request.model, request.needs, reservation.deadline, caller)
        return lease if reservation.stages is None else _timed(lease, reservation.stages)

    async def _reserve(self, kind: WorkClass, cost: int) -> Reservation:
        if kind == "interactive":
            return self._parts.engine.reserve(cost, self._seconds[kind])
        return await room(self._parts.engine, cost, self._seconds[kind])


@asynccontextmanager
async def _timed(lease: AbstractAsyncContextManager[Lease], stages: Stages) -> AsyncIterator[Lease]:
    """A lease whose wait for a load, also one that fails, is a stage."""
    async with AsyncExitStack() as held:
        asked = time.monotonic()
        try:
            entered = await held.enter_async_context(lease)
        finally:
            stages.waited("load", asked)
        yield entered


def _on_loop(loop: asyncio.AbstractEventLoop, receive: Callable[[Piece], None]) -> Callable[[Piece], None]:
    """Calls `receive` on the loop, from any thread."""

    def hand_over(piece: Piece) -> None:
        with suppress(RuntimeError):  # the loop is closed, so nobody waits any more
            loop.call_soon_threadsafe(receive, piece)

    return hand_over


async def all_of(parts: Sequence[Coroutine[None, None, T]]) -> list[T]:
    """Runs `parts` concurrently and returns their results. The first error cancels the other parts and is raised.

    Not a `TaskGroup`: the exception group that it raises is part of a reference cycle, which would keep the request's
    images in memory until the next garbage collection.
    """
    if len(parts) == 1:  # the usual case: saves a task, and two turns of the event loop
        return [await parts[0]]
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        await _end(tasks)
        del tasks


async def _end(tasks: "Sequence[asyncio.Task[T]]") -> None:
    """Cancels the tasks that still run and waits for them. Ignores their errors."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
