"""Looking up names with the system's resolver. Knows nothing of what may be dialled."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

from blip_serve.threads import in_thread

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""A name's addresses, as text. Raises `OSError` where there is none."""


class Resolver:
    """A `Resolve` on threads of its own, so that a look-up that hangs holds up nothing but other look-ups.

    It has at most as many as there may be fetches; a look-up given up keeps its thread until the system's own timeout,
    which the end of the process does not wait for.
    """

    def __init__(self, threads: int) -> None:
        self._free = asyncio.Semaphore(threads)

    async def __call__(self, host: str) -> list[str]:
        await self._free.acquire()
        look_up = asyncio.ensure_future(in_thread(lambda: _look_up(host), "resolve"))
        look_up.add_done_callback(lambda _: self._free.release())
        return await asyncio.shield(look_up)


def _look_up(host: str) -> list[str]:
    return [str(sockaddr[0]) for *_, sockaddr in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
