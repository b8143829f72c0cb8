"""One keep-alive connection to a server, as lean as can be: on few cores a client takes its time from the server's."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: its status, headers by lower-case name, stages in milliseconds as `server-timing` has them, and body.

    `arrivals`: when each chunk of the body was there, by `time.perf_counter`; one where it came whole.
    """

    status: int
    headers: dict[str, str]
    stages: dict[str, float]
    chunks: list[bytes]
    arrivals: list[float]

    @property
    def content(self) -> bytes:
        """The whole body."""
        return b"".join(self.chunks)


class Connection:
    """Made by `connect`. Asks one thing at a time."""

    def __init__(self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._host = host
        self._reader = reader
        self._writer = writer

    async def get(self, path: str) -> Answer:
        """The answer to a GET."""
        return await self._ask(f"GET {path} HTTP/1.1\r\nhost: {self._host}\r\n\r\n".encode())

    async def post(self, path: str, body: bytes) -> Answer:
        """The answer to a POST of JSON."""
        head = f"POST {path} HTTP/1.1\r\nhost: {self._host}\r\ncontent-type: application/json\r\n"
        return await self._ask(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)

    def close(self) -> None:
        """Leaves; what was asked is cancelled."""
        self._writer.close()

    async def _ask(self, request: bytes) -> Answer:
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        chunks, arrivals = [], []
        async for chunk in self._body(headers):
            chunks.append(chunk)
            arrivals.append(time.perf_counter())
        stages = _stages(headers.get("server-timing", ""))
        return Answer(int(status.split()[1]), headers, stages, chunks, arrivals)

    async def _body(self, headers: dict[str, str]) -> AsyncIterator[bytes]:
        if "content-length" in headers:
            yield await self._reader.readexactly(int(headers["content-length"]))
            return
        while size := int(await self._reader.readline(), 16):
            yield (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readexactly(2)


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[Connection]:
    """A connection to the server at `url`, closed on leaving."""
    connection = await open_connection(url)
    try:
        yield connection
    finally:
        connection.close()


async def open_connection(url: str) -> Connection:
    """A connection that the caller closes."""
    place = urlsplit(url)
    return Connection(place.netloc, *await asyncio.open_connection(place.hostname, place.port))


def _stages(header: str) -> dict[str, float]:
    stages = (stage.strip().partition(";dur=") for stage in header.split(",") if stage)
    return {name: float(milliseconds) for name, _, milliseconds in stages}
