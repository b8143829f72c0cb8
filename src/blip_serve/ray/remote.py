"""The service's tasks as calls of the models' deployments: to the faces of the service there is no difference."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any, Generic, TypeVar, cast

from ray.serve.handle import DeploymentHandle

from blip_serve.domain import ANYONE, Caller, Task
from blip_serve.errors import ServiceError
from blip_serve.ray.affinity import affinity
from blip_serve.ray.deployments import Deployments, result_of
from blip_serve.ray.metrics import export
from blip_serve.settings import Settings
from blip_serve.tasks.decide import Decide, DecideRequest
from blip_serve.tasks.embed import Embed, EmbedRequest
from blip_serve.tasks.generate import Event, Generate, GenerateRequest, GenerateResult
from blip_serve.tasks.match import Match, MatchRequest
from blip_serve.tasks.rerank import Rerank, RerankRequest
from blip_serve.tasks.score import PairScoring, ScoreRequest
from blip_serve.tasks.service import CALLERS, Tasks
from blip_serve.telemetry import Telemetry

RequestT = TypeVar("RequestT", MatchRequest, EmbedRequest, RerankRequest, ScoreRequest, GenerateRequest, DecideRequest)
ResultT = TypeVar("ResultT")


class Remote(Generic[RequestT, ResultT]):
    """A task, asked of the deployment of the request's model. A request has its time here, and in the replica."""

    def __init__(
        self, name: str, needs: Sequence[Task], deployments: Deployments, timeout: float, caller: Caller
    ) -> None:
        self._name = name
        self._needs = needs
        self._deployments = deployments
        self._timeout = timeout
        self._caller = caller

    async def run(self, request: RequestT) -> ResultT:
        """The request's result. Raises `ServiceError`s that name the request's fields."""
        found = self._deployments.directory.choose(request.model, self._needs, self._caller)
        deployed = found.model
        method = deployed.handle.options(method_name="run", session_id=affinity(request))
        asked = replace(request, model=found.id)
        with deployed.faults():
            async with asyncio.timeout(self._timeout):
                result = await result_of(method.remote(self._name, asked, self._caller))
        if isinstance(result, ServiceError):
            raise result
        return cast(ResultT, result)


class RemoteGenerate(Remote[GenerateRequest, GenerateResult]):
    """The task that also streams."""

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        """As `Generate.stream`. Until the first event the time is counted here; from then on, by the replica."""
        found = self._deployments.directory.choose(request.model, self._needs, self._caller)
        deployed = found.model
        method = deployed.handle.options(method_name="stream", session_id=affinity(request), stream=True)
        events = method.remote(replace(request, model=found.id), self._caller)
        within: float | None = self._timeout
        try:
            while True:
                with deployed.faults():
                    async with asyncio.timeout(within):
                        event = await anext(events, None)
                if event is None:
                    return
                if isinstance(event, ServiceError):
                    raise event
                yield event
                within = None
        finally:
            events.cancel()


@asynccontextmanager
async def open_remote(
    settings: Settings, telemetry: Telemetry, replicas: Mapping[str, DeploymentHandle]
) -> AsyncIterator[Tasks]:
    """The tasks of the deployments in `replicas`, by the id of their model."""
    deployments = Deployments(settings, telemetry, replicas)
    timeout = settings.server.request_timeout_s

    @lru_cache(CALLERS)
    def tasks_of(caller: Caller) -> Tasks:
        def remote(name: str, needs: Sequence[Task]) -> Remote[Any, Any]:
            return Remote(name, needs, deployments, timeout, caller)

        return Tasks(
            match=remote("match", Match.needs),
            embed=remote("embed", Embed.needs),
            rerank=remote("rerank", Rerank.needs),
            score=remote("score", PairScoring.needs),
            generate=RemoteGenerate("generate", Generate.needs, deployments, timeout, caller),
            decide=remote("decide", Decide.needs),
            models=lambda: deployments.directory.statuses(caller),
            model=lambda name: deployments.directory.status(name, caller),
            not_ready=deployments.directory.not_ready,
            lost=lambda: False,
            of=tasks_of,
        )

    await deployments.look()
    await deployments.ask_for_cards()
    running = [asyncio.create_task(deployments.watch()), asyncio.create_task(export(telemetry))]
    try:
        yield tasks_of(ANYONE)
    finally:
        for task in running:
            task.cancel()
