"""Puts the service together and takes it apart: the one place that knows all the pieces."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeVar

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
from blip_serve.tasks.decide import Decide, DecideRequest, DecideResult
from blip_serve.tasks.embed import Embed, EmbedRequest, EmbedResult
from blip_serve.tasks.generate import Event, Generate, GenerateRequest, GenerateResult
from blip_serve.tasks.match import Match, MatchRequest, MatchResult
from blip_serve.tasks.rerank import Rerank, RerankRequest, RerankResult
from blip_serve.tasks.score import PairScoring, ScoreRequest, ScoreResult
from blip_serve.tasks.session import Sessions
from blip_serve.telemetry import Telemetry

RequestT = TypeVar("RequestT", contravariant=True)
ResultT = TypeVar("ResultT", covariant=True)


class Runs(Protocol[RequestT, ResultT]):
    """A task, here or in another process."""

    async def run(self, request: RequestT) -> ResultT:
        """The request's result. Raises `ServiceError`s that name the request's fields."""
        ...


class Streams(Runs[GenerateRequest, GenerateResult], Protocol):
    """The task that also gives its result piece by piece."""

    def stream(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        """As `Generate.stream` says."""
        ...


@dataclass(frozen=True, slots=True)
class Tasks:
    """All that the faces of the service (HTTP, the command line) may call, for one caller; `of` makes another's."""

    match: Runs[MatchRequest, MatchResult]
    embed: Runs[EmbedRequest, EmbedResult]
    rerank: Runs[RerankRequest, RerankResult]
    score: Runs[ScoreRequest, ScoreResult]
    generate: Streams
    decide: Runs[DecideRequest, DecideResult]
    models: Callable[[], list[ModelStatus]]
    model: Callable[[str], ModelStatus]
    not_ready: Callable[[], list[str]]
    lost: Callable[[], bool]
    of: "Callable[[Caller], Tasks]"


CALLERS = 256
"""Whose tasks are kept ready: they are asked for with every request."""

OpenTasks = Callable[[Settings, Telemetry], AbstractAsyncContextManager[Tasks]]
"""How a face of the service comes by its tasks: `open_service` runs them in this process."""


@asynccontextmanager
async def open_service(
    settings: Settings, telemetry: Telemetry, load: Loader | None = None, fetcher: Fetcher | None = None
) -> AsyncIterator[Tasks]:
    """Runs the service while inside, for anyone; preloads start at once.

    `load` replaces what loads models, `fetcher` what fetches images by URL; it is closed at the end.

    Raises `ConfigurationError` for settings that contradict each other.
    """
    engine = Engine(settings.engine, telemetry)
    registry = Registry(settings, engine, telemetry, load or loader(settings, telemetry))
    workers = ThreadPoolExecutor(settings.engine.workers, thread_name_prefix="worker")
    decoders = FairThreads(settings.engine.workers, "decoder", telemetry)
    fetcher = fetcher or Fetcher(settings.images.fetch, settings.images.max_bytes)
    images = ImageLoader(fetcher, settings.images, workers)
    at_once, timeout, asked = settings.engine.workers, settings.server.request_timeout_s, Asked()

    @lru_cache(CALLERS)
    def tasks_of(caller: Caller) -> Tasks:
        sessions = Sessions(registry, engine, images, workers, decoders, at_once, telemetry, timeout, asked, caller)
        match = Match(sessions, settings.limits)
        return Tasks(
            match=match,
            embed=Embed(sessions, settings.limits),
            rerank=Rerank(sessions, settings.limits),
            score=PairScoring(match),
            generate=Generate(sessions, settings.limits),
            decide=Decide(sessions, settings.limits),
            models=lambda: registry.directory.statuses(caller),
            model=lambda name: registry.directory.status(name, caller),
            not_ready=lambda: [*filter(None, [engine.trouble(), decoders.trouble()]), *registry.directory.not_ready()],
            lost=lambda: engine.lost() or decoders.lost(),
            of=tasks_of,
        )

    engine.start()
    registry.preload()
    try:
        yield tasks_of(ANYONE)
    finally:
        await registry.close()
        await asyncio.to_thread(engine.stop, 0)
        await images.aclose()
        workers.shutdown(wait=False, cancel_futures=True)
        decoders.close()
