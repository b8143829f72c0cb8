"""The service's tasks as calls to the models' deployments. The HTTP application sees no difference."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar, cast

from opentelemetry import propagate
from ray.serve.handle import DeploymentHandle

from blip_serve.directory import ModelStatus, check_manages
from blip_serve.domain import ANYONE, Caller
from blip_serve.errors import Conflict, ServiceError
from blip_serve.ray.affinity import affinity
from blip_serve.ray.deployments import Deployed, Deployments, result_of
from blip_serve.ray.metrics import export
from blip_serve.settings import ServerSettings, Settings
from blip_serve.tasks.generate import Event, GenerateRequest
from blip_serve.tasks.request import Request, work_class
from blip_serve.tasks.service import Tasks
from blip_serve.telemetry import Telemetry

RequestT = TypeVar("RequestT", bound=Request[Any])
ResultT = TypeVar("ResultT")


class Remote:
    """Sends each request to the deployment of its model. The gateway and the replica both apply the timeout."""

    def __init__(self, deployments: Deployments, server: ServerSettings) -> None:
        self._deployments = deployments
        self._server = server

    async def run(self, request: Request[ResultT], caller: Caller = ANYONE) -> ResultT:
        """See `Tasks`."""
        deployed, asked = self._choose(request, caller)
        method = deployed.handle.options(method_name="run", session_id=affinity(request))
        with deployed.faults():
            async with asyncio.timeout(self._timeout(request, caller)):
                result = await result_of(method.remote(asked, caller, _trace()))
        if isinstance(result, ServiceError):
            raise result
        return cast(ResultT, result)

    async def stream(self, request: GenerateRequest, caller: Caller = ANYONE) -> AsyncGenerator[Event, None]:
        """See `Tasks`. The timeout here holds until the first event. After that the replica's own holds."""
        deployed, asked = self._choose(request, caller)
        method = deployed.handle.options(method_name="stream", session_id=affinity(request), stream=True)
        within: float | None = self._timeout(request, caller)
        events = method.remote(asked, caller, _trace())
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

    def models(self, caller: Caller = ANYONE) -> list[ModelStatus]:
        """See `Tasks`."""
        return self._deployments.directory.statuses(caller)

    def model(self, name: str, caller: Caller = ANYONE) -> ModelStatus:
        """See `Tasks`."""
        return self._deployments.directory.status(name, caller)

    async def load(self, name: str, caller: Caller = ANYONE) -> ModelStatus:
        """See `Tasks`. Always refused: Serve starts and stops the replicas."""
        raise self._by_the_cluster(name, caller)

    async def unload(self, name: str, caller: Caller = ANYONE) -> ModelStatus:
        """See `load`."""
        raise self._by_the_cluster(name, caller)

    def _by_the_cluster(self, name: str, caller: Caller) -> Conflict:
        check_manages(caller)
        return Conflict(
            f"The model '{self.model(name, caller).id}' has replicas of its own on a Ray cluster, which starts and "
            "stops them by itself: set their numbers in its configuration.",
            code="managed_by_cluster",
        )

    def not_ready(self) -> list[str]:
        """See `Tasks`."""
        return self._deployments.directory.not_ready()

    def lost(self) -> bool:
        """See `Tasks`. Always `False`: this process has no device."""
        return False

    def _choose(self, request: RequestT, caller: Caller) -> tuple[Deployed, RequestT]:
        """The deployment for a request, and the request with the model's id filled in."""
        found = self._deployments.directory.choose(request.model, request.needs, caller)
        return found.model, replace(request, model=found.id)

    def _timeout(self, request: Request[Any], caller: Caller) -> float:
        return self._server.timeout_s(work_class(request, caller))


def _trace() -> dict[str, str]:
    """The request's span as headers, if it is traced: what the replica does is below it."""
    headers: dict[str, str] = {}
    propagate.inject(headers)
    return headers


@asynccontextmanager
async def open_remote(
    settings: Settings, telemetry: Telemetry, replicas: Mapping[str, DeploymentHandle]
) -> AsyncIterator[Tasks]:
    """The tasks as calls to the deployments in `replicas`, which are keyed by model id."""
    deployments = Deployments(settings, telemetry, replicas)
    await deployments.look()
    await deployments.ask_for_cards()
    running = [asyncio.create_task(deployments.watch()), asyncio.create_task(export(telemetry))]
    try:
        yield Remote(deployments, settings.server)
    finally:
        for task in running:
            task.cancel()
