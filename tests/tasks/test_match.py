"""The match task without HTTP: what crosses its border, and what is left behind when it fails."""

import asyncio
import gc
import pickle
import weakref
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from blip_serve.domain import Caption, Item, MatchItem, Prepared
from blip_serve.errors import InvalidInput, ServiceError
from blip_serve.images.reference import Base64Image, BytesImage
from blip_serve.models.fake import FakeModel, FakeWork
from blip_serve.tasks.match import MatchRequest, MatchResult
from blip_serve.tasks.service import Tasks, open_service
from blip_serve.tasks.session import all_of
from blip_serve.telemetry import Telemetry
from tests.support.pictures import encoded, picture
from tests.support.server import QUIET, always, fake_settings
from tests.support.waiting import wait_until

T = TypeVar("T")
IMAGES = (BytesImage(encoded(picture(1)), "images[0]"), Base64Image("aGVsbG8=", "images[1]"))
CAPTIONS = (Caption("a dog", "captions[0]"), Caption("a cat", "captions[1]"))


WARM_UP = 1  # works


class WatchedWork(FakeWork):
    """One that can be referred to weakly: it has no slots."""


def with_service(model: FakeModel, use: Callable[[Tasks], Awaitable[T]]) -> T:
    async def run() -> T:
        async with open_service(fake_settings(), Telemetry(QUIET), always(model)) as tasks:
            return await use(tasks)

    return asyncio.run(run())


def test_requests_and_results_can_cross_a_process_border() -> None:
    request = MatchRequest(IMAGES, CAPTIONS)
    assert pickle.loads(pickle.dumps(request)) == request
    result = with_service(FakeModel(), lambda tasks: tasks.match.run(request))
    assert isinstance(result, MatchResult)
    assert pickle.loads(pickle.dumps(result)) == result
    assert [(pair.image_index, pair.caption_index) for pair in result.pairs] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_failed_request_leaves_nothing_in_memory() -> None:
    """Without the garbage collector's help: errors must not refer back to what they failed on."""
    alive: list[weakref.ref[object]] = []

    class Watched(FakeModel):
        def prepare(self, item: Item) -> Prepared:
            assert isinstance(item, MatchItem)
            works = tuple(WatchedWork(phase="encode", cost=1) for _ in item.captions)
            alive.extend(weakref.ref(work) for work in works)
            return Prepared(works)

    def fail(works: object) -> None:
        if len(alive) > WARM_UP:
            raise ServiceError("no")

    async def use(tasks: Tasks) -> None:
        await asyncio.to_thread(wait_until, lambda: not tasks.not_ready())
        gc.disable()
        try:
            with pytest.raises(ServiceError):
                await tasks.match.run(MatchRequest(IMAGES, CAPTIONS))
            for _ in range(100):
                await asyncio.sleep(0)
        finally:
            gc.enable()

    with_service(Watched(on_launch=fail), use)
    assert len(alive) > WARM_UP
    assert [work for work in alive if work() is not None] == []


def test_the_first_failure_cancels_the_rest_and_is_raised() -> None:
    cancelled = []

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def fail() -> None:
        raise InvalidInput("no", param="images[1]")

    async def run() -> None:
        with pytest.raises(InvalidInput):
            await all_of([wait(), fail(), wait()])

    asyncio.run(run())
    assert cancelled == [True, True]
