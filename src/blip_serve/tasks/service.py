"""The service without a face: puts its pieces together, runs the tasks, and takes it apart."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol, TypeVar, cast

from blip_serve.directory import ModelStatus
from blip_serve.domain import ANYONE, Caller
from blip_serve.engine.engine import Engine
from blip_serve.fair_threads import FairThreads
from blip_serve.images.fetch import Fetcher
from blip_serve.images.loader import ImageLoader
from blip_serve.loading import Loader, loader
from blip_serve.registry import Registry
from blip_serve.settings import Settings
from blip_serve.tasks.asked import Asked
from blip_serve.tasks.generate import Event, GenerateRequest
from blip_serve.tasks.request import Request
from blip_serve.tasks.session import Parts, Sessions
from blip_serve.tasks.table import TASKS
from blip_serve.tasks.work_classes import BackgroundBounds
from blip_serve.telemetry import Telemetry

ResultT = TypeVar("ResultT")


class Tasks(Protocol):
    """All that a face of the service (HTTP, the command line, Python) may call, here or in another process."""

    async def run(self, request: Request[ResultT], caller: Caller = ANYONE) -> ResultT:
        """The request's result. Raises `ServiceError`s that name the request's fields."""
        ...

    def stream(self, request: GenerateRequest, caller: Caller = ANYONE) -> AsyncGenerator[Event, None]:
        """The request's result piece by piece, as `tasks.generate.stream` says."""
        ...

    def models(self, caller: Caller = ANYONE) -> list[ModelStatus]:
        """Every model the caller may use, in the configuration's order."""
        ...

    def model(self, name: str, caller: Caller = ANYONE) -> ModelStatus:
        """One model by any of its names. Raises `ModelNotFound`, and `PermissionDenied`."""
        ...

    def not_ready(self) -> list[str]:
        """Why no request should come here now, a line each."""
        ...

    def lost(self) -> bool:
        """Whether only a new process can go on."""
        ...


OpenTasks = Callable[[Settings, Telemetry], AbstractAsyncContextManager[Tasks]]
"""How a face of the service comes by its tasks: `open_service` runs them in this process."""


class Service:
    """The tasks, run in this process."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._sessions = Sessions(parts)

    async def run(self, request: Request[ResultT], caller: Caller = ANYONE) -> ResultT:
        """See `Tasks`."""
        return cast(ResultT, await TASKS[type(request)].run(request, caller, self._sessions))

    def stream(self, request: GenerateRequest, caller: Caller = ANYONE) -> AsyncGenerator[Event, None]:
        """See `Tasks`."""
        stream = TASKS[type(request)].stream
        assert stream is not None
        return stream(request, caller, self._sessions)

    def models(self, caller: Caller = ANYONE) -> list[ModelStatus]:
        """See `Tasks`."""
        return self._parts.registry.statuses(caller)

    def model(self, name: str, caller: Caller = ANYONE) -> ModelStatus:
        """See `Tasks`."""
        return self._parts.registry.status(name, caller)

    def not_ready(self) -> list[str]:
        """See `Tasks`."""
        parts = self._parts
        return [*filter(None, [parts.engine.trouble(), parts.decoders.trouble()]), *parts.registry.not_ready()]

    def lost(self) -> bool:
        """See `Tasks`."""
        return self._parts.engine.lost() or self._parts.decoders.lost()


@asynccontextmanager
async def open_service(
    settings: Settings, telemetry: Telemetry, load: Loader | None = None, fetcher: Fetcher | None = None
) -> AsyncIterator[Tasks]:
    """Runs the service while inside; the models to be preloaded begin to load at once.

    `load` replaces what loads models, `fetcher` what fetches images by URL; it is closed at the end.

    Raises `ConfigurationError` for settings that contradict each other.
    """
    engine = Engine(settings.engine, telemetry)
    registry = Registry(settings, engine, telemetry, load or loader(settings, telemetry))
    workers = ThreadPoolExecutor(settings.engine.workers, thread_name_prefix="worker")
    decoders = FairThreads(settings.engine.workers, "decoder", telemetry)
    images = ImageLoader(fetcher or Fetcher(settings.images.fetch, settings.images.max_bytes), settings.images, workers)
    engine.start()
    registry.preload()
    try:
        bounds = BackgroundBounds(settings.engine.workers)
        yield Service(Parts(settings, registry, engine, images, workers, decoders, bounds, Asked(), telemetry))
    finally:
        await registry.close()
        await asyncio.to_thread(engine.stop, 0)
        await images.aclose()
        workers.shutdown(wait=False, cancel_futures=True)
        decoders.close()
