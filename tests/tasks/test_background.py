"""How background requests wait for room, and what they leave to interactive ones."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from blip_serve.engine.engine import Engine
from blip_serve.errors import DeadlineExceeded, Unavailable
from blip_serve.images.reference import BytesImage, UrlImage
from blip_serve.tasks.background import FETCHES, BackgroundBounds, room
from tests.support.engine import background, running_engine
from tests.support.waiting import WAIT_S


def with_engine(use: Callable[[Engine], Awaitable[None]]) -> None:
    async def run() -> None:
        with running_engine(max_queue_cost=10) as engine:
            await asyncio.wait_for(use(engine), WAIT_S)

    asyncio.run(run())


async def enter(engine: Engine, seconds: float = WAIT_S) -> None:
    engine.close(await room(engine, 10, seconds))


def queued(engine: Engine) -> tuple[int, int]:
    """Background requests admitted, and waiting."""
    return len(engine._admission.reserved), engine._admission.waiting


def test_a_background_request_waits_for_room_and_leaves_it() -> None:
    async def use(engine: Engine) -> None:
        first = await room(engine, 10, WAIT_S)
        assert first.work_class == "background"
        waiting = asyncio.ensure_future(enter(engine))
        await asyncio.sleep(0)
        assert queued(engine) == (1, 1)
        engine.close(first)
        await waiting
        assert queued(engine) == (0, 0)

    with_engine(use)


def test_a_wait_ends_with_the_request_s_time() -> None:
    async def use(engine: Engine) -> None:
        background(engine, 10)
        with pytest.raises(DeadlineExceeded):
            await enter(engine, 0.01)
        assert queued(engine) == (1, 0)

    with_engine(use)


@pytest.mark.parametrize("admitted_first", [True, False])
def test_a_request_given_up_while_it_waits_leaves_nothing(admitted_first: bool) -> None:
    async def use(engine: Engine) -> None:
        first = background(engine, 10)
        waiting = asyncio.ensure_future(enter(engine))
        await asyncio.sleep(0)
        if admitted_first:  # the request is given up before it learns of it
            engine.close(first)
            assert queued(engine) == (1, 0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        engine.close(first)
        assert queued(engine) == (0, 0)

    with_engine(use)


def test_an_engine_that_stops_ends_the_wait() -> None:
    async def use(engine: Engine) -> None:
        background(engine, 10)
        waiting = asyncio.ensure_future(enter(engine))
        await asyncio.sleep(0)
        await asyncio.to_thread(engine.stop, 0)
        with pytest.raises(Unavailable):
            await waiting

    with_engine(use)


@pytest.mark.parametrize(("workers", "at_once"), [(1, 1), (2, 1), (8, 7)])
def test_background_requests_leave_a_worker_free_where_there_are_two(workers: int, at_once: int) -> None:
    bounds = BackgroundBounds(workers)
    found = BytesImage(b"", "image")

    async def run() -> None:
        assert await most_inside(lambda: bounds.worker()) == at_once
        assert await most_inside(lambda: bounds.load(found)) == at_once

    asyncio.run(run())


def test_background_requests_fetch_a_bounded_number_of_images_at_once() -> None:
    bounds, url = BackgroundBounds(2), UrlImage("https://example.org/a.png", "image")

    async def run() -> None:
        assert await most_inside(lambda: bounds.load(url)) == FETCHES

    asyncio.run(run())


async def most_inside(enter: Callable[[], AbstractAsyncContextManager[None]]) -> int:
    """Of 50 that enter side by side, how many are inside at once."""
    inside = most = 0

    async def one() -> None:
        nonlocal inside, most
        async with enter():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(one() for _ in range(50)))
    return most
