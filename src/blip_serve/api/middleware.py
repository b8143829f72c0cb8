"""What surrounds every request: its id, log line, metrics, the limit on its body, and a client that leaves."""

import asyncio
import re
import time
import uuid
from ipaddress import ip_address

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from blip_serve.allocator import give_back
from blip_serve.api.errors import answer, unexpected
from blip_serve.api.spans import note_answer, traced_request
from blip_serve.domain import Caller
from blip_serve.errors import Overloaded, RequestTooLarge, Unavailable
from blip_serve.tasks.request import Timings
from blip_serve.telemetry import Telemetry

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
QUIET = ("/livez", "/readyz", "/health", "/metrics")
HEAVY = 16_000_000
"""Bytes of a body. After a larger one freed memory is given back to the system; the allocator would keep it."""
CLIENT_LEFT = 499
"""Status logged and counted for a request whose client left before the answer (nginx's convention)."""


class RequestMiddleware:
    """Gives each request an id, logs and counts it. Answers an unexpected exception without telling its cause.

    Tells browsers to take an answer for nothing but what its type says.
    """

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        tracing = self._telemetry.tracing
        if tracing is None or scope["path"] in QUIET:
            await self._answer(scope, receive, send)
            return
        with traced_request(tracing, scope):
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else f"req-{uuid.uuid4().hex}"
        started = time.monotonic()
        status = 0
        timing = ""

        async def send_with_id(message: Message) -> None:
            nonlocal status, timing
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers["x-content-type-options"] = "nosniff"  # answers quote what clients sent
                timing = headers.get("server-timing", "")
                if scope["app"].state.draining:
                    headers["connection"] = "close"
            await send(message)

        self._telemetry.request_started()
        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            status = CLIENT_LEFT
        except Exception as error:
            self._telemetry.log.error("request_failed", id=request_id, exc_info=error)
            if not status:
                self._telemetry.request_failed("internal_error", rejected=False)
                await answer(unexpected())(scope, receive, send_with_id)
        except asyncio.CancelledError:
            if not scope["app"].state.draining:  # Serve cancels what a client left; uvicorn only tells of it
                status = CLIENT_LEFT
                raise
            if not status:  # the server ends, and its time to drain is over
                await answer(Unavailable("The service is shutting down.", retry_after=1))(scope, receive, send_with_id)
        finally:
            self._ended(scope, request_id, status or CLIENT_LEFT, time.monotonic() - started, _stages(timing))

    def _ended(self, scope: Scope, request_id: str, status: int, seconds: float, timings: dict[str, float]) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        if status == CLIENT_LEFT:
            self._telemetry.request_cancelled()
        self._telemetry.request_ended(route, scope["method"] if route != "unmatched" else "any", status, seconds)
        code = scope.get("state", {}).get("error_code")
        log = self._telemetry.log.debug if route in QUIET else self._telemetry.log.info
        caller: Caller | None = scope.get("state", {}).get("caller")
        if caller is not None:
            self._telemetry.key_used(caller.name, status)
        traced = self._telemetry.traced()
        if traced is not None:
            note_answer(traced, scope, request_id, route, status)
        log(
            "request",
            id=request_id,
            **({"trace_id": traced.trace_id} if traced else {}),
            client=_client(scope),
            **({"key": caller.name} if caller else {}),
            method=scope["method"],
            route=route,
            status=status,
            **({"code": code} if code else {}),
            ms=round(seconds * 1000, 1),
            **timings,
        )


def server_timing(timings: Timings) -> dict[str, str]:
    """The header `server-timing`, which says where a request's time went: milliseconds a stage."""
    stages = {"fetch": timings.fetch, "decode": timings.decode, "queue": timings.queue, "device": timings.device}
    return {"server-timing": ", ".join(f"{stage};dur={seconds * 1000:.1f}" for stage, seconds in stages.items())}


def _stages(header: str) -> dict[str, float]:
    """The header `server-timing` as fields of a log line: `fetch_ms` and so on."""
    parts = (part.partition(";dur=") for part in header.split(", ") if part)
    return {f"{stage}_ms": float(milliseconds) for stage, _, milliseconds in parts}


def _client(scope: Scope) -> str:
    """The client's address, or `unknown`: a trusted proxy may forward something else as one."""
    host, _ = scope.get("client") or ("", 0)
    try:
        return str(ip_address(host.partition("%")[0]))
    except ValueError:
        return "unknown"


class BodyLimitMiddleware:
    """Limits a body to `limit` bytes, declared or chunked, and the bodies of all requests to `total` bytes.

    Background requests may wait for minutes, so their bodies have half of `total` at most. A body's class is known once
    it is read: the route then calls `count_as_background` of the request's state.
    """

    def __init__(self, app: ASGIApp, limit: int, total: int) -> None:
        self._app = app
        self._limit = limit
        self._room = total
        self._background_room = total // 2

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        declared = int(length) if length.isascii() and length.isdigit() and len(length) < 20 else 0
        read = background = 0

        def count_as_background() -> None:
            nonlocal background
            if read > self._background_room:
                raise _no_room()
            background = read
            self._background_room -= read

        async def receive_within_limit() -> Message:
            nonlocal read
            message = {} if declared > self._limit else await receive()  # not even "100 Continue" is asked for
            size = len(message.get("body", b""))
            if max(declared, read + size) > self._limit:
                raise RequestTooLarge(f"The body is over the limit of {self._limit} bytes.")
            if size > self._room:
                raise _no_room()
            read += size
            self._room -= size
            return message

        scope.setdefault("state", {})["count_as_background"] = count_as_background
        try:
            await self._app(scope, receive_within_limit, send)
        finally:
            self._room += read
            self._background_room += background
            if read > HEAVY:
                asyncio.get_running_loop().run_in_executor(None, give_back)


def _no_room() -> Overloaded:
    return Overloaded("The requests being answered take all the memory there is for them.", retry_after=1)


class HeadMiddleware:
    """Answers HEAD as GET. The server leaves out the body by itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        asked = {**scope, "method": "GET"}
        try:
            await self._app(asked, receive, send)
        finally:
            scope.update({**asked, "method": "HEAD"})  # the route, for the log


class DisconnectMiddleware:
    """Cancels a request whose client leaves after its body was read, so that no further step works for it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body_ended = asyncio.Event()
        answered = False

        async def receive_and_note() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                body_ended.set()
            return message

        async def send_and_note(message: Message) -> None:
            nonlocal answered
            answered = answered or (message["type"] == "http.response.body" and not message.get("more_body", False))
            await send(message)

        request = asyncio.current_task()
        left = False

        async def wait_for_disconnect() -> None:
            nonlocal left
            await body_ended.wait()
            while (await receive())["type"] != "http.disconnect":
                pass
            if not answered and request is not None:
                left = request.cancel()

        watcher = asyncio.create_task(wait_for_disconnect())
        try:
            await self._app(scope, receive_and_note, send_and_note)
        except asyncio.CancelledError:
            if left and request is not None and not request.uncancel():
                raise ClientDisconnect from None
            raise
        finally:
            watcher.cancel()
