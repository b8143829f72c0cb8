"""Waiting for a call on a thread of its own, one that a process about to end does not wait for."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def in_thread(call: Callable[[], T], name: str) -> T:
    """The result of a call made on a thread called `name`. Raises what it raises."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def settle(set_it: Callable[[Any], None], value: object) -> None:
        if not result.done():
            set_it(value)

    def run() -> None:
        try:
            value = call()
        except Exception as error:
            outcome: tuple[Callable[[Any], None], object] = (result.set_exception, error)
        except BaseException as error:  # a thread has nobody to exit to
            outcome = (result.set_exception, RuntimeError(repr(error)))
        else:
            outcome = (result.set_result, value)
        with suppress(RuntimeError):  # the loop is gone, and whoever waited with it
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await result
