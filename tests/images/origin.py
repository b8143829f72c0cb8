"""A small web server on the loopback interface that answers, or misbehaves, as a test says."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Origin:
    """What the server heard: connections and the requests' heads; and on which port it listens."""

    port: int = 0
    connections: int = 0
    heads: list[str] = field(default_factory=list)


def respond(body: bytes = b"", status: str = "200 OK", **headers: str) -> Answer:
    """A complete answer, with its length unless `headers` give another."""
    lines = {"content-length": str(len(body))} | {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return send(f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body)


def send(data: bytes) -> Answer:
    """Bytes as they are."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return answer


def endless(head: bytes, piece: bytes, pause_s: float) -> Answer:
    """A head, then `piece` for ever, every `pause_s` seconds."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)

    return answer


async def silence(writer: asyncio.StreamWriter) -> None:
    """No answer at all."""
    await asyncio.sleep(60)


@asynccontextmanager
async def serving(answers: dict[str, Answer], tls: ssl.SSLContext | None = None) -> AsyncIterator[Origin]:
    """A server that gives each path its answer, for as long as the block runs."""
    origin = Origin()
    answering: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.add(asyncio.current_task())
        origin.connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            origin.heads.append(head)
            await answers[head.split()[1]](writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    origin.port = server.sockets[0].getsockname()[1]
    try:
        yield origin
    finally:
        server.close()
        for task in answering:
            if task is not None:
                task.cancel()
        await server.wait_closed()  # since Python 3.12 until the last connection is closed
