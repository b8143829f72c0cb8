"""Runs a call on its own daemon thread and awaits it. The process does not wait for the thread when it ends."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def in_thread(call: Callable[[], T], name: str) -> T:
    """Runs `call` on a new thread called `name` and returns its result. Raises what `call` raises."""
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
        with suppress(RuntimeError):  # the loop is closed, so nobody waits any more
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await result


def outcome_of(call: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """The result of a call, or its error. `SystemExit` and the like become errors: a thread would lose them."""
    try:
        return call(), None
    except Exception as error:
        return None, error
    except BaseException as error:
        return None, RuntimeError(repr(error))
