"""Streams of server-sent events, as an ASGI server runs them."""

import asyncio
from collections.abc import AsyncGenerator, Iterator

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from blip_serve.api.errors import ErrorBody
from blip_serve.api.events import EventStream, ServerSentEvent
from blip_serve.errors import Overloaded, Unavailable
from blip_serve.telemetry import Telemetry
from tests.support.server import QUIET

TELEMETRY = Telemetry(QUIET)


class Words:
    """Shapes words; cannot shape a blank one."""

    def write(self, event: str) -> Iterator[ServerSentEvent]:
        """The word, and its length."""
        yield ServerSentEvent(event)
        yield ServerSentEvent(str(1 // len(event)), name="share")

    def fail(self, error: ErrorBody) -> Iterator[ServerSentEvent]:
        """The error's code."""
        yield ServerSentEvent(f"{error.type} {error.code}: {error.message}", name="failed")


class Wire:
    """What a client was sent; it stops reading after `room` messages."""

    def __init__(self, room: int = 100) -> None:
        self.messages: list[Message] = []
        self.full = asyncio.Event()
        self._room = room

    async def send(self, message: Message) -> None:
        """Takes a message."""
        if len(self.messages) == self._room:
            self.full.set()
            await asyncio.Event().wait()
        self.messages.append(message)

    @property
    def text(self) -> str:
        """The body so far."""
        return b"".join(message.get("body", b"") for message in self.messages).decode()

    @property
    def ended(self) -> bool:
        """Whether the body is whole."""
        return self.messages[-1].get("more_body") is False


async def receive() -> Message:
    raise AssertionError("a stream reads nothing")


class Source:
    """Yields `words`, then raises `error`; knows when it is closed."""

    def __init__(self, *words: str, error: Exception | None = None) -> None:
        self.closed = False
        self._words = words
        self._error = error

    async def events(self) -> AsyncGenerator[str, None]:
        """The words."""
        try:
            for word in self._words:
                yield word
            if self._error is not None:
                raise self._error
        finally:
            self.closed = True


async def run(events: AsyncGenerator[str, None], wire: Wire, seconds: float = 20) -> None:
    await EventStream(events, Words(), TELEMETRY, seconds)({"type": "http"}, receive, wire.send)


def counted(code: str) -> bytes | None:
    """The line of the metric of errors of this code."""
    return next((line for line in TELEMETRY.page().splitlines() if f'code="{code}"'.encode() in line), None)


def test_a_stream_is_sent_in_the_format_of_server_sent_events() -> None:
    wire, source = Wire(), Source("a", "bc")
    asyncio.run(run(source.events(), wire))
    start = wire.messages[0]
    assert (start["type"], start["status"]) == ("http.response.start", 200)
    headers = dict(start["headers"])
    assert headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert headers[b"cache-control"] == b"no-cache"
    assert headers[b"x-accel-buffering"] == b"no"
    assert b"content-length" not in headers
    assert wire.text == "data: a\n\nevent: share\ndata: 1\n\ndata: bc\n\nevent: share\ndata: 0\n\n"
    assert wire.ended
    assert source.closed


def test_each_event_is_sent_before_the_next_is_asked_for() -> None:
    wire = Wire()
    seen = []

    async def events() -> AsyncGenerator[str, None]:
        for word in ("a", "b", "c"):
            seen.append(len(wire.messages))
            yield word

    asyncio.run(run(events(), wire))
    assert seen == [0, 2, 3]


def test_an_error_before_the_first_event_is_left_to_the_handlers() -> None:
    wire, source = Wire(), Source(error=Overloaded("full"))
    with pytest.raises(Overloaded):
        asyncio.run(run(source.events(), wire))
    assert wire.messages == []
    assert source.closed


def test_an_error_after_the_first_event_is_the_writer_s_to_tell() -> None:
    wire, source = Wire(), Source("a", error=Unavailable("not now", code="stream_test"))
    asyncio.run(run(source.events(), wire))
    assert wire.text.endswith("event: failed\ndata: server_error stream_test: not now\n\n")
    assert wire.ended
    assert source.closed
    assert counted("stream_test") == b'blip_serve_errors_total{code="stream_test"} 1.0'


@pytest.mark.parametrize("source", [Source("a", ""), Source("a", error=KeyError("the secret cause"))])
def test_a_fault_of_ours_is_told_without_its_cause_and_raised(source: Source) -> None:
    wire = Wire()
    with pytest.raises((ZeroDivisionError, KeyError)):
        asyncio.run(run(source.events(), wire))
    assert "event: failed\ndata: server_error internal_error: " in wire.text
    assert "secret" not in wire.text
    assert wire.ended
    assert source.closed
    assert counted("internal_error") is not None


def test_a_client_that_stops_reading_counts_as_gone() -> None:
    wire, source = Wire(room=2), Source("a", "b", "c")
    with pytest.raises(ClientDisconnect):
        asyncio.run(run(source.events(), wire, seconds=0.01))
    assert len(wire.messages) == 2
    assert source.closed


def test_a_cancelled_stream_closes_its_source() -> None:
    async def leave() -> None:
        task = asyncio.create_task(run(source.events(), wire))
        await wire.full.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    wire, source = Wire(room=2), Source("a", "b")
    asyncio.run(leave())
    assert source.closed
    assert "failed" not in wire.text
