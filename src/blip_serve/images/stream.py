"""A connection that limits the size of an HTTP response's head. Does not parse HTTP."""

import ssl
from math import inf
from typing import Any

import httpcore

MAX_HEAD_BYTES = 32 * 1024
"""Limit for everything before the body, interim responses (100 Continue) too: a server could send these for ever."""


class HeadLimitedStream(httpcore.AsyncNetworkStream):
    """Wraps `stream` and limits the bytes read until `head_ended` is called. After that there is no limit."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._left: float = MAX_HEAD_BYTES

    def head_ended(self) -> None:
        """Call this once the response's head is parsed. It removes the limit."""
        self._left = inf

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """Raises `httpcore.RemoteProtocolError` if the head is too long."""
        if self._left <= 0:
            raise httpcore.RemoteProtocolError("the head is too long")
        data = await self._stream.read(int(min(max_bytes, self._left)), timeout)
        self._left -= len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        return HeadLimitedStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
