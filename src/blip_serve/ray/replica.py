"""A replica of one model: the whole service but for HTTP, asked from another process."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
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
"""Between two tries to load: Serve starts another replica at once where one failed, and after three no more."""


class Replica:
    """Errors of the service are results: what is raised here is a fault of ours, or Ray's."""

    async def __init__(self, settings: Settings) -> None:  # type: ignore[misc]  # Serve awaits it
        """Loads the one model of `settings`, and where it cannot, tries again for as long as a request has.

        Raises `CheckpointError` then. The model is `failed`, until deployed anew, once three replicas raised it.
        """
        telemetry = Telemetry(settings.log)
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

    async def run(self, request: Request[Any], caller: Caller) -> object:
        """The request's result, or its error."""
        try:
            return await self._tasks.run(request, caller)
        except ServiceError as error:
            return error

    async def stream(self, request: GenerateRequest, caller: Caller) -> AsyncGenerator[Event | ServiceError, None]:
        """The events of a text that is generated; an error is the last."""
        try:
            async with aclosing(self._tasks.stream(request, caller)) as events:
                async for event in events:
                    yield event
        except ServiceError as error:
            yield error

    async def card(self) -> ModelCard:
        """What is known of the model now that it is loaded."""
        return self._tasks.model(self._model).card

    async def check_health(self) -> None:
        """Raises where no new request should come here, for a stuck device too: Serve then replaces this replica.

        Serve has no milder measure: it does not know of replicas that are alive but not ready.
        """
        if reasons := self._tasks.not_ready():
            raise RuntimeError("; ".join(reasons))

    async def __del__(self) -> None:
        """Serve awaits it, once the requests in flight are done, or where nothing was loaded."""
        await self._open.aclose()

    async def _load(self, settings: Settings, telemetry: Telemetry) -> None:
        """Opens the service, and waits for its model."""
        async with AsyncExitStack() as opened:
            self._tasks = await opened.enter_async_context(open_service(settings, telemetry))
            await self._loaded()
            self._open = opened.pop_all()

    async def _loaded(self) -> None:
        while (status := self._tasks.model(self._model)).state != "ready":
            if status.state == "failed":
                raise CheckpointError(self._model, str(status.error))
            await asyncio.sleep(LOOK_S)
