"""One request on its way down: room in the queue, a leased model, its images, its works. Shared by all tasks."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from blip_serve.catalogue import ModelCard
from blip_serve.domain import Caller, ImageBytes, Item, Piece, Prepared, Task, image_of
from blip_serve.engine.engine import Engine
from blip_serve.engine.reservation import Reservation
from blip_serve.errors import DeadlineExceeded
from blip_serve.fair_threads import FairThreads
from blip_serve.images.loader import ImageLoader
from blip_serve.images.reference import ImageSource
from blip_serve.registry import Lease, Registry
from blip_serve.tasks.asked import Asked
from blip_serve.tasks.usage import Usage
from blip_serve.telemetry import Telemetry

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timings:
    """Where a request's time went, in seconds; `fetch` is its slowest image's, `decode` the sum over its images."""

    fetch: float
    decode: float
    queue: float
    device: float


@dataclass(frozen=True, slots=True)
class Started:
    """An item whose works are queued."""

    prepared: Prepared
    futures: "list[asyncio.Future[Any]]"

    async def results(self) -> list[Any]:
        """A result per position of the item. To be asked for once."""
        try:
            pieces = await asyncio.gather(*self.futures)
        finally:
            self.futures.clear()  # a future refers to its error, which refers to this frame: a cycle, images and all
        found = dict(numbered for piece in pieces for numbered in piece)
        return [found[position] for position in range(len(found))]


class Session:
    """A request that holds its place and its model. Made by `Sessions.open` only."""

    def __init__(
        self,
        lease: Lease,
        reservation: Reservation,
        images: ImageLoader,
        workers: Executor,
        decoders: FairThreads,
        at_once: int,
        telemetry: Telemetry,
        asked: Asked,
        caller: Caller,
    ) -> None:
        self.lease = lease
        self._caller = caller
        self._asked = asked
        self._reservation = reservation
        self._images = images
        self._workers = workers
        self._decoders = decoders
        self._telemetry = telemetry
        self._preparing = asyncio.Semaphore(at_once)
        self._first = True
        self._fetch_seconds = 0.0
        self._decode_seconds = 0.0

    async def load(self, source: ImageSource) -> ImageBytes:
        """An image's bytes; a request's first, if small, are read at once. Raises `InvalidInput` naming its field."""
        started = time.monotonic()
        first, self._first = self._first, False
        image = await self._images.load(source, here=first)
        seconds = time.monotonic() - started
        self._telemetry.image_fetched(seconds)
        self._fetch_seconds = max(self._fetch_seconds, seconds)
        return image

    async def run(self, item: Item) -> tuple[Prepared, list[Any]]:
        """Prepares an item and runs its works: what it was made of, and a result per position of the item.

        Raises `InvalidInput` naming the item's field, and what the engine says of a work that failed.
        """
        started = await self.start(item)
        return started.prepared, await started.results()

    async def start(self, item: Item, on_piece: Callable[[Piece], None] | None = None) -> "Started":
        """Like `run`, but returns once the item's works are queued; `on_piece` is given pieces on the event loop."""
        loop = asyncio.get_running_loop()
        async with self._preparing:  # a request of many images does not queue them all before a small one's
            with self._reservation.preparing():
                prepared = await self._prepare(item)
                futures = self._reservation.submit(
                    self.lease.model, prepared.works, None if on_piece is None else _on_loop(loop, on_piece)
                )
        self._decode_seconds += prepared.decode_seconds
        if image := image_of(item):
            prepared = self._noted(image, prepared)
        return Started(prepared, [asyncio.wrap_future(future) for future in futures])

    async def until_deadline(self, parts: Sequence[Coroutine[None, None, T]]) -> list[T | None]:
        """The results of `parts`, run side by side; `None` for those that the request's time did not suffice for.

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

    async def _prepare(self, item: Item) -> Prepared:
        """On a worker, where it is a matter of a moment; what has an image to decode waits for its caller's turn."""
        model, image = self.lease.model, image_of(item)
        known = None if image is None else model.known(item)  # and stays so while this refers to it
        if image is None or known is not None:
            return await asyncio.get_running_loop().run_in_executor(self._workers, model.prepare, item)
        caller, image_of_model = self._caller.address or self._caller.name, (self.lease.id, image.digest)
        return await self._decoders.run(
            caller, image_of_model, self._reservation.deadline, partial(model.prepare, item)
        )

    def _noted(self, image: ImageBytes, prepared: Prepared) -> Prepared:
        """What was prepared, as the caller may know it: what others' requests saved it is not told."""
        known = bool(prepared.cached_tokens)
        self._telemetry.image_prepared(self.lease.id, known, prepared.decode_seconds)
        own = self._asked.again(self._caller.name, self.lease.id, image.digest, known=known)
        return prepared if own else replace(prepared, cached_tokens=0)

    def used(self, usage: Usage) -> Usage:
        """Counts what the request used for its caller."""
        self._telemetry.used(
            self._caller.name,
            self.lease.id,
            image=usage.image_tokens,
            text=usage.text_tokens,
            cached=usage.cached_tokens,
            generated=usage.generated_tokens,
        )
        return usage

    @property
    def timings(self) -> Timings:
        """Of everything so far."""
        reservation = self._reservation
        return Timings(self._fetch_seconds, self._decode_seconds, reservation.queue_seconds, reservation.device_seconds)


class Sessions:
    """Opens a caller's sessions: the one way from a task to the registry and the engine."""

    def __init__(
        self,
        registry: Registry,
        engine: Engine,
        images: ImageLoader,
        workers: Executor,
        decoders: FairThreads,
        at_once: int,
        telemetry: Telemetry,
        timeout: float,
        asked: Asked,
        caller: Caller,
    ) -> None:
        """`workers` do what takes a moment, `decoders` what has an image to decode.

        `at_once`: items of one request that may be prepared at a time; `timeout`: seconds a request has.
        """
        self._registry = registry
        self._engine = engine
        self._images = images
        self._workers = workers
        self._decoders = decoders
        self._at_once = at_once
        self._telemetry = telemetry
        self._timeout = timeout
        self._asked = asked
        self._caller = caller

    def card(self, model: str | None, tasks: Sequence[Task]) -> ModelCard:
        """What is known, before it is opened, of the model that does one of `tasks`. Raises as `Directory.choose`."""
        return self._registry.directory.choose(model, tasks, self._caller).model.card

    @asynccontextmanager
    async def open(
        self, model: str | None, tasks: Sequence[Task], cost: int, timed: bool = True
    ) -> AsyncIterator[Session]:
        """A session of a request weighing `cost`, with a model that does one of `tasks`; leaving it cancels the rest.

        Not `timed`: what is done in it keeps the request's time by itself, by `Session.until_deadline`.

        Raises `Overloaded` before any work is done, what `Registry.lease` raises, and `DeadlineExceeded`.
        """
        with self._engine.reserve(cost, self._timeout) as reservation:
            async with self._registry.lease(model, tasks, reservation.deadline, self._caller) as lease:
                try:
                    async with asyncio.timeout(max(0.0, reservation.deadline - time.monotonic()) if timed else None):
                        yield Session(
                            lease,
                            reservation,
                            self._images,
                            self._workers,
                            self._decoders,
                            self._at_once,
                            self._telemetry,
                            self._asked,
                            self._caller,
                        )
                except TimeoutError:
                    raise DeadlineExceeded("The request's time ran out.") from None


def _on_loop(loop: asyncio.AbstractEventLoop, receive: Callable[[Piece], None]) -> Callable[[Piece], None]:
    """Calls `receive` on the loop, from any thread."""

    def hand_over(piece: Piece) -> None:
        with suppress(RuntimeError):  # the loop is gone, and whoever waited with it
            loop.call_soon_threadsafe(receive, piece)

    return hand_over


async def all_of(parts: Sequence[Coroutine[None, None, T]]) -> list[T]:
    """The results of `parts`, run side by side; the first to fail cancels the others and is raised.

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
    """Cancels what still runs and waits for it; what failed meanwhile is nobody's any more."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
