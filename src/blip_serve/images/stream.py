"""A connection whose server must come to the point. Knows no HTTP beyond that an answer has a head and a body."""

import ssl
from math import inf
from typing import Any

import httpcore

MAX_HEAD_BYTES = 32 * 1024
"""All that may come before the body, interim answers (100 Continue) too: parsing those for ever stalls the loop."""


class HeadLimitedStream(httpcore.AsyncNetworkStream):
    """`stream`, but what is read before `head_ended` is called is bounded; then nothing is."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._left: float = MAX_HEAD_BYTES

    def head_ended(self) -> None:
        """Whoever parses the answer has seen its head."""
        self._left = inf

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """Raises `httpcore.RemoteProtocolError` where the head is too long."""
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
