"""Clients that disconnect, in the queue and in a stream: how soon others can use their slots and their room."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

from bench.bodies import CHAT, MATCH
from bench.connection import Connection, connect
from scoreboard.board import Board
from scoreboard.load import PAIR
from tests.support.asking import chat_messages

PART = "disconnects"
STEP_S = 0.25
QUEUED = 100
"""Requests, of which a step takes eight at most: seconds of work."""
STREAMS = 8
"""As many as the fake model has slots."""
STREAM = json.dumps({"messages": chat_messages(), "stream": True}).encode()
EVENT = b"data: {"
LIMIT_S = 1.0
POLL_S = 0.01
PATIENCE_S = 30.0
GAUGES = ("queue_cost", "queue_requests", "in_flight_requests")
IDLE = [0.0, 0.0, 1.0]
"""The gauges' values when there is no request but the one for the metrics."""


def run(board: Board) -> None:
    """Uses a slow fake model: if the cancelled work still ran, it would take longer than the limit."""
    with board.serve(PART, {}, fake_step_s=STEP_S) as server:
        free = asyncio.run(_leave_queue(server.url))
        what = f"{QUEUED} clients leave the queue: until `queue_cost` and `in_flight_requests` are as before"
        board.add(PART, what, f"< {LIMIT_S:g} s", f"{free:.2f} s", free < LIMIT_S)
        stayed, left = (asyncio.run(_wait_for_slot(server.url, leave)) for leave in (False, True))
        what = f"{STREAMS} clients leave streams that hold every slot: the first word of the next"
        says = f"{left:.2f} s; had they stayed, {stayed:.2f} s"
        board.add(PART, what, f"< {LIMIT_S:g} s", says, left < LIMIT_S < stayed)


async def _leave_queue(url: str) -> float:
    """Seconds from when all had left."""
    async with connect(url) as metrics:
        await _until(metrics, lambda found: found == IDLE)
        async with AsyncExitStack() as clients:
            for _ in range(QUEUED):
                await clients.enter_async_context(_asking(url, MATCH, PAIR))
            await _until(metrics, lambda found: found[1] == QUEUED)
        left = time.perf_counter()
        await _until(metrics, lambda found: found == IDLE)
        return time.perf_counter() - left


async def _wait_for_slot(url: str, leave: bool) -> float:
    """Seconds to the first word of a stream that finds no free slot. Those with slots leave at once, or stay."""
    async with AsyncExitStack() as clients:
        readers = [await clients.enter_async_context(_asking(url, CHAT, STREAM)) for _ in range(STREAMS)]
        await asyncio.gather(*map(_first_word, readers))
        async with _asking(url, CHAT, STREAM) as reader:
            started = time.perf_counter()
            if leave:
                await clients.aclose()
            await _first_word(reader)
            return time.perf_counter() - started


@asynccontextmanager
async def _asking(url: str, path: str, body: bytes) -> AsyncIterator[asyncio.StreamReader]:
    """Yields a streamed response. The caller may leave it unfinished."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    head = f"POST {path} HTTP/1.1\r\nhost: {place.netloc}\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    await writer.drain()
    try:
        yield reader
    finally:
        writer.close()


async def _first_word(reader: asyncio.StreamReader) -> None:
    """Comes with the second event: the first is sent at once and holds none."""
    await reader.readuntil(EVENT)
    await reader.readuntil(EVENT)


async def _until(metrics: Connection, condition: Callable[[list[float]], bool]) -> None:
    """Waits for the gauges to say so."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition(await _gauges(metrics)):  # noqa: ASYNC110 (nothing here is told by the service)
            await asyncio.sleep(POLL_S)


async def _gauges(metrics: Connection) -> list[float]:
    lines = (await metrics.get("/metrics")).content.decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return [float(values[f"blip_serve_{name}"]) for name in GAUGES]
