"""The window: items are processed at once, and their results come in order."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from blip_serve.jobs.window import in_order


class Counting:
    """Counts how many calls are under way, and the most there were. Of neighbours the later one ends first."""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def __call__(self, item: int) -> int:
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(20 - item % 20):
            await asyncio.sleep(0)
        self.now -= 1
        return item


def test_results_come_in_order_and_no_more_than_the_bound_are_under_way() -> None:
    counting = Counting()

    async def run() -> list[int]:
        return [each async for each in in_order(iter(range(100)), counting, 7)]

    assert asyncio.run(run()) == list(range(100))
    assert counting.most == 7


def test_an_item_that_takes_long_leaves_the_others_work_to_do() -> None:
    ended = asyncio.Event()
    others = 0

    async def process(item: int) -> int:
        nonlocal others
        if item == 0:
            await ended.wait()
        else:
            others += 1
            if others == 3 * 4:
                ended.set()
        return item

    async def run() -> list[int]:
        return [each async for each in in_order(iter(range(100)), process, 4)]

    assert asyncio.run(asyncio.wait_for(run(), 30)) == list(range(100))


def test_items_are_read_only_as_far_as_they_are_needed() -> None:
    read = 0

    def items() -> Iterator[int]:
        nonlocal read
        for item in range(1000):
            read += 1
            yield item

    async def run() -> None:
        async with aclosing(in_order(items(), Counting(), 4, held=6, read_at_once=3)) as results:
            async for result in results:
                if result == 9:
                    break

    asyncio.run(run())
    assert read <= 10 + 6 + 2 * 3


def test_an_error_ends_it_and_what_is_under_way_is_cancelled() -> None:
    cancelled: list[int] = []

    async def process(item: int) -> int:
        if item == 1:
            raise ValueError(item)
        try:
            await asyncio.sleep(60 if item > 1 else 0)
        except asyncio.CancelledError:
            cancelled.append(item)
            raise
        return item

    async def run() -> list[int]:
        return [each async for each in in_order(iter(range(100)), process, 4)]

    with pytest.raises(ValueError, match="1"):
        asyncio.run(run())
    assert cancelled == [2, 3]


def test_an_error_of_the_items_is_raised() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    async def run() -> None:
        async for _ in in_order(items(), Counting(), 4):
            pass

    with pytest.raises(OSError, match="gone"):
        asyncio.run(run())
