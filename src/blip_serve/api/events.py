"""Server-sent events: a task's events, sent as they come. Knows no endpoint: a writer shapes the events."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from blip_serve.api.errors import ErrorBody, shown, unexpected
from blip_serve.errors import ServiceError
from blip_serve.telemetry import Telemetry

EVENTS: dict[str, object] = {"content": {"text/event-stream": {"schema": {"type": "string"}}}}
"""What the OpenAPI document says of a route that may answer with a stream."""

T = TypeVar("T")
ReadT = TypeVar("ReadT", contravariant=True)


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event: `data` is a single line, `name` its type where the endpoint's events have one."""

    data: str
    name: str | None = None

    def __bytes__(self) -> bytes:
        head = "" if self.name is None else f"event: {self.name}\n"
        return f"{head}data: {self.data}\n\n".encode()


class Writer(Protocol[ReadT]):
    """Shapes one stream. It may remember the events before."""

    def write(self, event: ReadT) -> Iterable[ServerSentEvent]:
        """One of the task's events, as what to send."""
        ...

    def fail(self, error: ErrorBody) -> Iterable[ServerSentEvent]:
        """An error after the stream has begun, as the last that is sent."""
        ...


class EventStream(Response, Generic[T]):
    """A response of server-sent events. It begins with the task's first event; errors before that are answered as JSON.

    `events` is closed on every path. From the first event on, all of them must be made and read within `seconds`; then
    the client counts as gone. A request has a time for its work; a client should have as long again to read.
    """

    media_type = "text/event-stream"

    def __init__(
        self, events: AsyncGenerator[T, None], writer: Writer[T], telemetry: Telemetry, seconds: float
    ) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers({"cache-control": "no-cache", "x-accel-buffering": "no"})
        self._events = events
        self._writer = writer
        self._telemetry = telemetry
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        async with aclosing(self._events) as events:
            first = await anext(events)
            try:
                async with asyncio.timeout(self._seconds):
                    await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                    await self._send(first, events, send)
            except TimeoutError:
                raise ClientDisconnect from None

    async def _send(self, first: T, events: AsyncGenerator[T, None], send: Send) -> None:
        try:
            await _send_events(send, self._writer.write(first))
            async for event in events:
                await _send_events(send, self._writer.write(event))
            await _send_events(send, (), last=True)
        except ServiceError as error:
            await self._fail(send, error)
        except Exception:
            await self._fail(send, unexpected())
            raise  # to where it is logged

    async def _fail(self, send: Send, error: ServiceError) -> None:
        self._telemetry.request_failed(error.code, rejected=False)
        await _send_events(send, self._writer.fail(shown(error)), last=True)


async def _send_events(send: Send, events: Iterable[ServerSentEvent], last: bool = False) -> None:
    await send({"type": "http.response.body", "body": b"".join(map(bytes, events)), "more_body": not last})
