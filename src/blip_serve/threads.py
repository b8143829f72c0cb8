"""Calls, and event loops, on daemon threads of their own. The process does not wait for them when it ends."""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
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


class LoopThread:
    """An event loop on a thread of its own, for what errors call a `name`. A forked process has no such thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def wait_for(self, call: Coroutine[Any, Any, T]) -> T:
        """Runs `call` on the loop and returns its result. Ctrl-C in the waiting thread cancels it."""
        if self._loop.is_closed() or self.forked:
            call.close()
            forked = "belongs to the process that this one was forked from: make one here"
            raise RuntimeError(f"this {self._name} {forked if self.forked else 'is not open'}")
        future = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    @property
    def forked(self) -> bool:
        """Whether this is another process than that of the thread."""
        return os.getpid() != self._process

    def end(self) -> None:
        """Stops the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
