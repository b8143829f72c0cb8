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

    def settle(value: Any, error: Exception | None) -> None:
        if result.done():
            return
        if error is None:
            result.set_result(value)
        else:
            result.set_exception(error)

    def run() -> None:
        value, error = outcome_of(call)
        with suppress(RuntimeError):  # the loop is gone, and whoever waited with it
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await result


def outcome_of(call: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """What a call on a thread returns, or what it raises; a thread has nobody to exit to."""
    try:
        return call(), None
    except Exception as error:
        return None, error
    except BaseException as error:
        return None, RuntimeError(repr(error))
