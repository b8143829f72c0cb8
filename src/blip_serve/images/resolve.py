"""Looking up names with the system's resolver. Knows nothing of what may be dialled."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""A name's addresses, as text. Raises `OSError` where there is none."""


class Resolver:
    """A `Resolve` on threads of its own, so that a look-up that hangs holds up nothing but other look-ups.

    It has as many threads as there may be fetches; a look-up given up keeps its thread until the system's own timeout.
    """

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="resolve")

    async def __call__(self, host: str) -> list[str]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, _look_up, host)

    def close(self) -> None:
        """Drops the look-ups not yet begun."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str) -> list[str]:
    return [str(sockaddr[0]) for *_, sockaddr in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
