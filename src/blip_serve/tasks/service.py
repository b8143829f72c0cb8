"""The service without an interface such as HTTP: builds its parts, runs the tasks, and closes the parts."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, TypeVar, cast

from blip_serve.directory import ModelStatus, check_manages
from blip_serve.domain import ANYONE, Caller
from blip_serve.engine.engine import Engine
from blip_serve.fair_threads import FairThreads
from blip_serve.images.fetch import Fetcher
from blip_serve.images.loader import ImageLoader
from blip_serve.loading import CheckpointLoader, Loader
from blip_serve.registry import Registry
from blip_serve.settings import Settings
from blip_serve.tasks.asked import Asked
from blip_serve.tasks.background import BackgroundBounds
from blip_serve.tasks.generate import Event, GenerateRequest
from blip_serve.tasks.request import Request, check_names
from blip_serve.tasks.session import Parts, Sessions
from blip_serve.tasks.table import TASKS
from blip_serve.telemetry import Telemetry

ResultT = TypeVar("ResultT")


class Tasks(Protocol):
    """All that HTTP, the command line and the Python interface may call. The tasks may run in another process."""

    async def run(self, request: Request[ResultT], caller: Caller = ANYONE) -> ResultT:
        """The request's result. Raises `ServiceError`s that name the request's fields."""
        ...

    def stream(self, request: GenerateRequest, caller: Caller = ANYONE) -> AsyncGenerator[Event, None]:
        """The request's result piece by piece; see `tasks.generate.stream`."""
        ...

    def models(self, caller: Caller = ANYONE) -> list[ModelStatus]:
        """Every model the caller may use, in the configuration's order."""
        ...

    def model(self, name: str, caller: Caller = ANYONE) -> ModelStatus:
        """One model by any of its names. Raises `ModelNotFound` or `PermissionDenied`."""
        ...

    async def load(self, name: str, caller: Caller = ANYONE) -> ModelStatus:
        """Loads a model and returns its status once it is ready.

        Raises `PermissionDenied`, `ModelNotFound`, and `Unavailable` if it fails, never fits or takes too long.
        """
        ...

    async def unload(self, name: str, caller: Caller = ANYONE) -> ModelStatus:
        """Unloads a model and returns its status once its memory is given back. One not loaded stays as it is.

        Raises `PermissionDenied`, `ModelNotFound`, and `Conflict` if it is preloaded or in use.
        """
        ...

    def not_ready(self) -> list[str]:
        """The reasons why this process should get no requests now, one line each. Empty: it is ready."""
        ...

    def lost(self) -> bool:
        """Whether this process can never serve again and must be replaced."""
        ...


OpenTasks = Callable[[Settings, Telemetry], AbstractAsyncContextManager[Tasks]]
"""Opens the tasks for an interface. `open_service` runs them in this process."""


class Service:
    """The tasks, run in this process."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._sessions = Sessions(parts)

    async def run(self, request: Request[ResultT], caller: Caller = ANYONE) -> ResultT:
        """See `Tasks`."""
        self._check(request, caller)
        return cast(ResultT, await TASKS[type(request)].run(request, caller, self._sessions))

    def stream(self, request: GenerateRequest, caller: Caller = ANYONE) -> AsyncGenerator[Event, None]:
        """See `Tasks`."""
        self._check(request, caller)
        stream = TASKS[type(request)].stream
        assert stream is not None
        return stream(request, caller, self._sessions)

    def models(self, caller: Caller = ANYONE) -> list[ModelStatus]:
        """See `Tasks`."""
        return self._parts.registry.directory.statuses(caller)

    def model(self, name: str, caller: Caller = ANYONE) -> ModelStatus:
        """See `Tasks`."""
        return self._parts.registry.directory.status(name, caller)

    async def load(self, name: str, caller: Caller = ANYONE) -> ModelStatus:
        """See `Tasks`."""
        check_manages(caller)
        deadline = time.monotonic() + self._parts.settings.server.request_timeout_s
        await self._parts.registry.load(name, deadline, caller)
        return self.model(name, caller)

    async def unload(self, name: str, caller: Caller = ANYONE) -> ModelStatus:
        """See `Tasks`."""
        check_manages(caller)
        await self._parts.registry.unload(name, caller)
        return self.model(name, caller)

    def not_ready(self) -> list[str]:
        """See `Tasks`."""
        parts = self._parts
        return [
            *filter(None, [parts.engine.trouble(), parts.decoders.trouble()]),
            *parts.registry.directory.not_ready(),
        ]

    def lost(self) -> bool:
        """See `Tasks`."""
        return self._parts.engine.lost() or self._parts.decoders.lost()

    def _check(self, request: Request[Any], caller: Caller) -> None:
        """Refuses a request, before it waits for anything, whose names are unknown or whose model or task is denied."""
        check_names(request)
        self._parts.registry.directory.choose(request.model, request.needs, caller)


@asynccontextmanager
async def open_service(
    settings: Settings, telemetry: Telemetry, loader: Loader | None = None, fetcher: Fetcher | None = None
) -> AsyncIterator[Tasks]:
    """Runs the service inside the `async with`. Models with `preload` start to load at once.

    `loader` replaces what loads models. `fetcher` replaces the one that fetches images by URL, and is closed
    at the end.

    Raises `ConfigurationError` for settings that contradict each other.
    """
    engine = Engine(settings.engine, telemetry)
    registry = Registry(settings, engine, telemetry, loader or CheckpointLoader(settings, telemetry))
    workers = ThreadPoolExecutor(settings.workers, thread_name_prefix="worker")
    decoders = FairThreads(settings.workers, "decoder", telemetry)
    images = ImageLoader(fetcher or Fetcher(settings.images.fetch, settings.images.max_bytes), settings.images, workers)
    engine.start()
    registry.preload()
    try:
        bounds = BackgroundBounds(settings.workers)
        yield Service(Parts(settings, registry, engine, images, workers, decoders, bounds, Asked(), telemetry))
    finally:
        await registry.close()
        await asyncio.to_thread(engine.stop, 0)
        await images.aclose()
        workers.shutdown(wait=False, cancel_futures=True)
        decoders.close()
