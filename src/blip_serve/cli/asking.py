"""What runs the requests of a long command: models here, or a server. And which model that is."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Protocol, TypeAlias, TypeVar

from blip_serve.directory import Directory, Known
from blip_serve.domain import ANYONE, Task
from blip_serve.in_process import AsyncBlipServe
from blip_serve.jobs.asking import Asking
from blip_serve.jobs.operators.operator import Ask
from blip_serve.jobs.operators.serving import Serving
from blip_serve.remote.tasks import RemoteTasks
from blip_serve.settings import Settings
from blip_serve.tasks.request import Request

R = TypeVar("R")
NICE = 10
"""How far a run on a server stands back on this machine, which may be the server's."""


class AskOptions(Protocol):
    """Where requests go: a server's `url` and `api_key`, or models here; and how many `at_once`."""

    @property
    def url(self) -> str | None: ...
    @property
    def api_key(self) -> str | None: ...
    @property
    def at_once(self) -> int: ...


OpenAsking: TypeAlias = Callable[[AskOptions, Settings], AbstractAsyncContextManager[Ask]]
"""Opens what runs requests."""


@asynccontextmanager
async def asking(options: AskOptions, settings: Settings) -> AsyncIterator[Ask]:
    """What runs requests: models here, or a server."""
    if options.url:
        if hasattr(os, "nice"):  # Windows has none
            os.nice(NICE)
        async with RemoteTasks(options.url, options.api_key, connections=options.at_once) as remote:

            async def run(request: Request[R], /) -> R:
                """By the model that is recorded, whatever the server's default is."""
                model = request.model or await remote.choose(request.needs)
                return await remote.run(replace(request, model=model))

            yield Asking(run)
    else:
        async with AsyncBlipServe(settings) as blip:
            yield Asking(blip.run)


def answering(
    asks: Sequence[tuple[tuple[Task, ...], Serving]], options: AskOptions, settings: Settings
) -> list[Serving]:
    """For each kind of request, the model that answers and its protocol, though the user may have named neither.

    A server's default protocol is not known here. Raises `ServiceError` for a model that there is not; also if the
    server is not there, or does not take the key: each request would wait for it.
    """
    if options.url:
        return asyncio.run(_on_server(asks, options))
    directory = Directory(settings, Known)
    chosen = [(serving, directory.choose(serving.model, needs, ANYONE)) for needs, serving in asks]
    return [
        replace(serving, model=model.id, protocol=serving.protocol or model.model.settings.protocol)
        for serving, model in chosen
    ]


async def _on_server(asks: Sequence[tuple[tuple[Task, ...], Serving]], options: AskOptions) -> list[Serving]:
    async with RemoteTasks(str(options.url), options.api_key) as remote:
        await remote.models()
        return [replace(serving, model=serving.model or await remote.choose(needs)) for needs, serving in asks]
