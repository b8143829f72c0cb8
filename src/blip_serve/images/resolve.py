"""Looks up host names with the system's resolver. Does not know which addresses are allowed."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

from blip_serve.threads import in_thread

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""Returns the addresses of a host name, as text. Raises `OSError` if it has none."""


class Resolver:
    """A `Resolve` with its own threads, at most `threads` of them. A lookup that hangs can only delay other lookups.

    A cancelled lookup keeps its thread until the system's own timeout. The process does not wait for it when it ends.
    """

    def __init__(self, threads: int) -> None:
        self._free = asyncio.Semaphore(threads)

    async def __call__(self, host: str) -> list[str]:
        await self._free.acquire()
        look_up = asyncio.ensure_future(in_thread(lambda: _look_up(host), "resolve"))
        look_up.add_done_callback(self._ended)
        return await asyncio.shield(look_up)

    def _ended(self, look_up: "asyncio.Future[list[str]]") -> None:
        """Frees the thread's place. Reads the error, which asyncio would log if the lookup was cancelled meanwhile."""
        self._free.release()
        if not look_up.cancelled():
            look_up.exception()


def _look_up(host: str) -> list[str]:
    return [str(sockaddr[0]) for *_, sockaddr in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
