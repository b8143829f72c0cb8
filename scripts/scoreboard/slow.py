"""Clients that are slow on purpose, and how long the server keeps their connections."""

import asyncio
import math
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import cast
from urllib.parse import urlsplit

from bench.bodies import MATCH

DRIP_S = 0.25
SMALL_BUFFER = 4096
"""Bytes of a client's receive buffer: little of an answer is on its way when it is not read."""

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter, float], Awaitable[bool]]
"""A slow client: runs for so many seconds, or until the server closes the connection. Returns whether it did."""


async def drip_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, patience_s: float) -> bool:
    """A head that never ends, a header now and then."""
    writer.write(f"POST {MATCH} HTTP/1.1\r\nhost: localhost\r\n".encode())
    return await _drip(reader, writer, patience_s, b"x-slow: yes\r\n")


async def drip_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, patience_s: float) -> bool:
    """A body that comes byte by byte."""
    head = (
        f"POST {MATCH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n"
    )
    writer.write(head.encode())
    return await _drip(reader, writer, patience_s, b" ")


async def read_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, patience_s: float) -> bool:
    """An answer of 100 kB that nobody reads; until the end, when it shows whether the server still holds the rest."""
    transport = cast(asyncio.Transport, writer.transport)
    transport.pause_reading()
    writer.write(b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n")
    await asyncio.sleep(patience_s)
    transport.resume_reading()
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    await reader.readexactly(length)
    return False


async def lifetimes(url: str, behaviour: Behaviour, patience_s: float, until: asyncio.Event) -> list[float]:
    """Seconds that each of one client's connections lasted, infinite where the server did not end it.

    It comes back until the event.
    """
    lasted: list[float] = []
    while not until.is_set():
        started = time.monotonic()
        ended = await _once(url, behaviour, patience_s)
        lasted.append(time.monotonic() - started if ended else math.inf)
    return lasted


async def _once(url: str, behaviour: Behaviour, patience_s: float) -> bool:
    place = urlsplit(url)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, (place.hostname, place.port))
    reader, writer = await asyncio.open_connection(sock=connection)
    try:
        return await behaviour(reader, writer, patience_s)
    except (OSError, asyncio.IncompleteReadError):
        return True
    finally:
        writer.close()


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, patience_s: float, drop: bytes) -> bool:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        writer.write(drop)
        with suppress(TimeoutError):
            async with asyncio.timeout(DRIP_S):
                while await reader.read(SMALL_BUFFER):
                    pass
                return True
    return False
