"""A replica of one model: the service without HTTP, called from the gateway's process."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, aclosing, nullcontext
from typing import Any

from blip_serve.catalogue import ModelCard
from blip_serve.domain import Caller
from blip_serve.errors import CheckpointError, ServiceError
from blip_serve.ray.metrics import export
from blip_serve.settings import Settings
from blip_serve.tasks.generate import Event, GenerateRequest
from blip_serve.tasks.request import Request
from blip_serve.tasks.service import open_service
from blip_serve.telemetry import Telemetry

LOOK_S = 0.05
PAUSE_S = 10.0
"""Seconds between two attempts to load. Serve replaces a failed replica at once, and gives up after three."""


class Replica:
    """Returns a `ServiceError` as a result. Only a bug here, or an error of Ray, is raised."""

    async def __init__(self, settings: Settings) -> None:  # type: ignore[misc]  # Serve awaits it
        """Loads the one model of `settings`. Tries again until a request's timeout has passed.

        Then raises `CheckpointError`. After three such replicas the model is `failed` until it is deployed again.
        """
        self._telemetry = telemetry = Telemetry(settings.log)
        self._model = settings.models[0].id
        self._open = AsyncExitStack()
        deadline = time.monotonic() + settings.server.request_timeout_s
        while True:
            try:
                await self._load(settings, telemetry)
                break
            except CheckpointError:
                if time.monotonic() + PAUSE_S > deadline:
                    raise
                await asyncio.sleep(PAUSE_S)
        self._open.callback(asyncio.create_task(export(telemetry)).cancel)
        self._open.push_async_callback(asyncio.to_thread, telemetry.close)  # first of all: its requests have ended

    async def run(self, request: Request[Any], caller: Caller, trace: Mapping[str, str]) -> object:
        """The request's result, or its error. `trace`: the headers that name the gateway's span, if there is one."""
        try:
            with self._span(request, trace):
                return await self._tasks.run(request, caller)
        except ServiceError as error:
            return error

    async def stream(
        self, request: GenerateRequest, caller: Caller, trace: Mapping[str, str]
    ) -> AsyncGenerator[Event | ServiceError, None]:
        """The events of a stream. An error is the last event."""
        try:
            with self._span(request, trace):
                async with aclosing(self._tasks.stream(request, caller)) as events:
                    async for event in events:
                        yield event
        except ServiceError as error:
            yield error

    def _span(self, request: Request[Any], trace: Mapping[str, str]) -> AbstractContextManager[object]:
        """A span of the request, around its stages."""
        tracing = self._telemetry.tracing
        return nullcontext() if tracing is None else tracing.request(request.task_name, trace)

    async def card(self) -> ModelCard:
        """The card of the loaded model."""
        return self._tasks.model(self._model).card

    async def check_health(self) -> None:
        """Raises if this replica should get no requests, such as for a stuck device. Serve replaces it then.

        Serve has no state for a replica that is alive but not ready.
        """
        if reasons := self._tasks.not_ready():
            raise RuntimeError("; ".join(reasons))

    async def __del__(self) -> None:
        """Closes the service. Serve awaits this after the requests in flight, or if `__init__` failed."""
        await self._open.aclose()

    async def _load(self, settings: Settings, telemetry: Telemetry) -> None:
        """Opens the service and waits until its model is loaded."""
        async with AsyncExitStack() as opened:
            self._tasks = await opened.enter_async_context(open_service(settings, telemetry))
            await self._loaded()
            self._open = opened.pop_all()

    async def _loaded(self) -> None:
        while (status := self._tasks.model(self._model)).state != "ready":
            if status.state == "failed":
                raise CheckpointError(self._model, str(status.error))
            await asyncio.sleep(LOOK_S)
