"""The tasks without HTTP, and whether they leave anything in memory."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from blip_serve.domain import AnyModel, Item, Prepared
from blip_serve.errors import ServiceError
from blip_serve.models.fake import FakeModel, FakeWork
from blip_serve.tasks.service import Tasks, open_service
from blip_serve.telemetry import Telemetry
from tests.support.server import QUIET, always, fake_settings
from tests.support.waiting import wait_until

T = TypeVar("T")
WARM_UP = 1  # works


class WatchedWork(FakeWork):
    """One that can be referred to weakly: it has no slots."""


def with_service(model: AnyModel, use: Callable[[Tasks], Awaitable[T]], **given: Any) -> T:
    """Runs `use` with a service of one model and the settings `given`. Returns its result."""

    async def run() -> T:
        async with open_service(fake_settings(**given), Telemetry(QUIET), always(model)) as tasks:
            return await use(tasks)

    return asyncio.run(run())


def check_a_failure_leaves_nothing(ask: Callable[[Tasks], Awaitable[object]]) -> None:
    """Checks this without the garbage collector: an error must not refer to the inputs that it failed on."""
    alive: list[weakref.ref[object]] = []

    class Watched(FakeModel):
        def prepare(self, item: Item) -> Prepared:
            works = (WatchedWork(phase="encode", cost=1), WatchedWork(phase="encode", cost=1))[: 1 + bool(alive)]
            alive.extend(weakref.ref(work) for work in works)
            return Prepared(works)

    def fail(works: object) -> None:
        if len(alive) > WARM_UP:
            raise ServiceError("no")

    async def use(tasks: Tasks) -> None:
        await asyncio.to_thread(wait_until, lambda: not tasks.not_ready())
        with pytest.raises(ServiceError):
            await ask(tasks)

    gc.disable()
    try:
        with_service(Watched("match", "embed", "caption", "answer", on_launch=fail), use)
        wait_until(lambda: all(work() is None for work in alive))  # a worker thread may release it a moment later
    finally:
        gc.enable()
    assert len(alive) > WARM_UP
