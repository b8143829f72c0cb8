"""A replica of one model: the whole service but for HTTP, asked from another process."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from typing import Any

from blip_serve.catalogue import ModelCard
from blip_serve.domain import Caller
from blip_serve.errors import CheckpointError, ServiceError
from blip_serve.ray.metrics import export
from blip_serve.settings import Settings
from blip_serve.tasks.generate import Event, GenerateRequest
from blip_serve.tasks.service import open_service
from blip_serve.telemetry import Telemetry

LOOK_S = 0.05


class Replica:
    """Errors of the service are results: what is raised here is a fault of ours, or Ray's."""

    async def __init__(self, settings: Settings) -> None:  # type: ignore[misc]  # Serve awaits it
        """Loads the one model of `settings`. Raises `CheckpointError` where it cannot: Serve tells why, and retries."""
        telemetry = Telemetry(settings.log)
        self._model = settings.models[0].id
        self._open = AsyncExitStack()
        self._tasks = await self._open.enter_async_context(open_service(settings, telemetry))
        try:
            await self._loaded()
        except BaseException:
            await self._open.aclose()
            raise
        self._exporting = asyncio.create_task(export(telemetry))

    async def run(self, task: str, request: Any, caller: Caller) -> object:
        """The result of the request of that task, or its error."""
        try:
            return await getattr(self._tasks.of(caller), task).run(request)
        except ServiceError as error:
            return error

    async def stream(self, request: GenerateRequest, caller: Caller) -> AsyncGenerator[Event | ServiceError, None]:
        """The events of a text that is generated; an error is the last."""
        try:
            async with aclosing(self._tasks.of(caller).generate.stream(request)) as events:
                async for event in events:
                    yield event
        except ServiceError as error:
            yield error

    async def card(self) -> ModelCard:
        """What is known of the model now that it is loaded."""
        return self._tasks.model(self._model).card

    async def check_health(self) -> None:
        """Raises where the device does not come back: Serve puts another replica in this one's place."""
        if self._tasks.device_lost():
            raise RuntimeError("the device is lost")

    async def __del__(self) -> None:
        """Serve awaits it, once the requests in flight are done."""
        self._exporting.cancel()
        await self._open.aclose()

    async def _loaded(self) -> None:
        while (status := self._tasks.model(self._model)).state != "ready":
            if status.state == "failed":
                raise CheckpointError(self._model, str(status.error))
            await asyncio.sleep(LOOK_S)
