"""Processes many items at once and yields the results in order, within a bound."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

READ_AT_ONCE = 8
"""Items that are read together, while earlier ones are processed."""
HELD = 4
"""How many times as many results may wait for an earlier one as items are under way."""


async def in_order(
    items: Iterator[T],
    process: Callable[[T], Awaitable[R]],
    at_once: int,
    held: int | None = None,
    read_at_once: int = READ_AT_ONCE,
) -> AsyncGenerator[R, None]:
    """Yields `process(item)` of each item, in order. At most `at_once` are under way.

    `held`: how many may be under way or wait for one before them; by default `HELD` times as many. So one that takes
    long leaves the others work to do. `items` is read on a thread. The first error is raised and cancels the rest.
    Close the generator to end it early.
    """
    most = held or HELD * at_once
    tasks: deque[asyncio.Task[R]] = deque()
    free = asyncio.Semaphore(at_once)
    reader = _read(items, read_at_once)
    try:
        async for item in reader:
            while tasks and (tasks[0].done() or len(tasks) >= most):
                yield await tasks[0]
                tasks.popleft()
            await free.acquire()
            tasks.append(asyncio.ensure_future(_freeing(free, process, item)))
        while tasks:
            yield await tasks[0]
            tasks.popleft()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        tasks.clear()
        await reader.aclose()


async def _freeing(free: asyncio.Semaphore, process: Callable[[T], Awaitable[R]], item: T) -> R:
    try:
        return await process(item)
    finally:
        free.release()


async def _read(items: Iterator[T], at_once: int) -> AsyncGenerator[T, None]:
    """The items, read ahead on a thread."""
    chunk = _next(items, at_once)
    try:
        while read := await chunk:
            chunk = _next(items, at_once)
            for item in read:
                yield item
    finally:
        with suppress(Exception, asyncio.CancelledError):
            await chunk  # a thread may still be reading


def _next(items: Iterator[T], count: int) -> "asyncio.Future[list[T]]":
    return asyncio.ensure_future(asyncio.to_thread(lambda: list(islice(items, count))))
