"""HTTP/1.1 on one connection, with limits that uvicorn's own protocol lacks.

They limit the size of a request's head, the time to receive a request, and the time to send its answer.
"""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import httptools
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from blip_serve.settings import ServerSettings
from blip_serve.telemetry import Telemetry

LINGER_S = 2.0
"""Seconds that a client which still sends has to read its answer, before the connection is cut (RFC 9112, 9.6)."""
MOST_DROPPED = 1024 * 1024
"""Bytes that are read and dropped after a request was refused. Then reading stops, and the client stalls."""
LEAST_READ = 256 * 1024
"""Bytes of its answer that a client must read in each `send_timeout_s`, unless fewer are left."""
CLOSE = (b"connection", b"close")


class _HeadTooLarge(Exception):
    """The head has more bytes, or more headers, than it may."""


class _Early(Exception):
    """A request began before the one under way was answered."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with the limits in `bounds`. Its own refusals are plain text, and counted by reason.

    It takes one request at a time. If a client sends the next one early, nothing more is read, and the connection ends
    with the answer under way. It ends too where a request was answered before all of it was read.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        bounds: ServerSettings,
        telemetry: Telemetry,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._answer, self.app = self.app, self._run
        self._bounds = bounds
        self._telemetry = telemetry
        self._receiving: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None
        self._framing = 0  # bytes of the request under way that are not its body: head, chunk sizes, trailers
        self._body = 0
        self._in_head = True
        self._deaf = False  # what still comes is dropped
        self._dropped = 0

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begins, unless there are too many connections already."""
        super().connection_made(transport)
        if len(self.connections) > self._bounds.max_connections:
            self._deaf = True
            self._count("connections")
            self._say(503, "Too many connections.", b"retry-after: 1\r\n")
            transport.close()
        else:
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends, and tells a request under way."""
        self._stop_waiting()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def shutdown(self) -> None:
        """Ends: after its answer where a request is under way or has begun to arrive, else at once."""
        if not (self._idle and self._framing):
            super().shutdown()

    # What comes

    def data_received(self, data: bytes) -> None:
        """Parses the bytes that came, within the limits."""
        if self._deaf:
            self._dropped += len(data)
            if self._dropped > MOST_DROPPED:
                self.flow.pause_reading()
            return
        self._unset_keepalive_if_required()
        if self._idle:
            self._expect()
        self._framing += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # the parser takes the head for the whole request
            if any(name in (b"content-length", b"transfer-encoding") for name, _ in self.headers):
                self.cycle.more_body = True
                self._refuse(400, "Upgrades are not supported: send HTTP/1.1 without the header Upgrade.", "upgrade")
            self.cycle.keep_alive = False  # without a body, answered as if it asked for none
        except httptools.HttpParserError as error:
            self._refuse_unread(error.__context__)
        else:
            if self._framing > self._bounds.max_header_bytes + self._body // 4:
                self._refuse_unread(_HeadTooLarge())

    def on_message_begin(self) -> None:
        """A request begins."""
        if not self._idle:
            raise _Early
        self._in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a header. Drops a trailer: nothing needs one, and as a header it would escape the checks."""
        if self._in_head:
            if len(self.headers) >= self._bounds.max_headers:
                raise _HeadTooLarge
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is complete: its request goes to the application."""
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > self._bounds.max_header_bytes:
            raise _HeadTooLarge
        super().on_headers_complete()
        self._in_head = False

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._framing -= len(body)
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        if self._receiving is not None:
            self._receiving.cancel()
            self._receiving = None
        self._framing = self._body = 0
        super().on_message_complete()

    # What goes

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the application. An answer that begins before all of its request was read says `connection: close`."""
        cycle = self.cycle

        async def send_and_close(message: MutableMapping[str, Any]) -> None:
            ends = message["type"] == "http.response.start" and (cycle.more_body or self._deaf)
            if ends:
                self._deaf = True
                message = {**message, "headers": [*message.get("headers", ()), CLOSE]}
            await send(message)
            if ends:
                cycle.keep_alive = True  # else uvicorn cuts the connection, and a client that sends reads no answer

        try:
            await self._answer(scope, receive, send_and_close)
        finally:
            self._watch_sending()

    def on_response_complete(self) -> None:
        """The answer is written. The next request may come, unless this one ends the connection."""
        super().on_response_complete()
        if self._deaf:
            self._linger()

    def pause_writing(self) -> None:
        """The client reads more slowly than the answer is written."""
        super().pause_writing()
        self._watch_sending()

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        self._stop_watching()
        if self.cycle.response_complete:
            self._watch_sending()

    # Deadlines

    @property
    def _idle(self) -> bool:
        """Whether the application has no request of this connection."""
        return self.cycle is None or self.cycle.response_complete

    def _expect(self) -> None:
        """Starts the time within which the next request must be complete."""
        if self._receiving is None:
            self._receiving = self.loop.call_later(self._bounds.receive_timeout_s, self._receive_expired)

    def _receive_expired(self) -> None:
        if self._idle and not self._framing:
            self.transport.close()
        else:
            self._refuse(408, "The request took too long to arrive.", "receive_timeout")

    def _watch_sending(self, before: int | None = None) -> None:
        """Cuts the connection where the client read too little of the `before` bytes that were left to send."""
        left = self.transport.get_write_buffer_size()
        self._stop_watching()
        if before is not None and left > max(0, before - LEAST_READ):
            self._count("send_timeout")
            self.transport.abort()
        elif left:
            self._sending = self.loop.call_later(self._bounds.send_timeout_s, self._watch_sending, left)

    def _stop_watching(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def _stop_waiting(self) -> None:
        self._stop_watching()
        if self._receiving is not None:
            self._receiving.cancel()

    # Refusals

    def _refuse_unread(self, reason: BaseException | None) -> None:
        match reason:
            case _HeadTooLarge():
                self._refuse(431, "The request's head is too large.", "head_too_large")
            case _Early():
                self._refuse(400, "A request came before the last was answered.", "early_request")
            case _:
                self._refuse(400, "Not a valid HTTP request.", "invalid_http")

    def _refuse(self, status: int, text: str, reason: str) -> None:
        """Stops reading. Answers with the refusal, unless an answer has begun or a whole request is being answered."""
        self._deaf = True
        self._count(reason)
        if self._idle or (self.cycle.more_body and not self.cycle.response_started):
            if not self._idle:
                self.cycle.disconnected = True
                self.cycle.waiting_for_100_continue = False
                self.cycle.message_event.set()
            self._say(status, text)
            self._linger()

    def _say(self, status: int, text: str, header: bytes = b"") -> None:
        self.transport.write(
            STATUS_LINE[status]
            + b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n" % len(text)
            + header
            + b"\r\n"
            + text.encode("ascii")
        )

    def _linger(self) -> None:
        """Closes for writing, and waits a while for the client to close. Cut off at once it might lose its answer."""
        self._stop_waiting()
        self._unset_keepalive_if_required()
        if self.transport.is_closing():
            return
        left = self.transport.get_write_buffer_size()
        self.flow.resume_reading()
        self.transport.write_eof()
        self._receiving = self.loop.call_later(self._bounds.send_timeout_s if left else LINGER_S, self.transport.abort)

    def _count(self, reason: str) -> None:
        self._telemetry.connection_refused(reason)
