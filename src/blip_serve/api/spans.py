"""The span of an HTTP request, in OpenTelemetry's words for HTTP servers. Holds no path, no query and no header."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.types import Scope

from blip_serve.domain import Caller

if TYPE_CHECKING:
    from blip_serve.tracing import Traced, Tracing

METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
"""Other words are the client's own: the conventions call them `_OTHER`, and the span `HTTP`."""
SERVER_ERROR = 500


def traced_request(tracing: "Tracing", scope: Scope) -> "AbstractContextManager[Traced]":
    """A span around a request, until its last byte is sent. It is below the client's, if there is a `traceparent`."""
    return tracing.request(_method(scope)[0], Headers(scope=scope))


def note_answer(traced: "Traced", scope: Scope, request_id: str, route: str, status: int) -> None:
    """What the log line says of the answer, too. `route`: the template of its path. Only 5xx is an error of ours."""
    span, method = _method(scope)
    state = scope.get("state", {})
    caller: Caller | None = state.get("caller")
    traced.note(
        {
            "http.request.method": method,
            "url.scheme": scope["scheme"],
            "http.response.status_code": status,
            "blip_serve.request_id": request_id,
            **({"blip_serve.key": caller.name} if caller else {}),
        }
    )
    if scope.get("route") is not None:
        traced.note({"http.route": route})
        traced.named(f"{span} {route}")
    if status >= SERVER_ERROR:
        traced.failed(state.get("error_code", str(status)))


def _method(scope: Scope) -> tuple[str, str]:
    """What the span and what its attribute call the request's method."""
    return (scope["method"],) * 2 if scope["method"] in METHODS else ("HTTP", "_OTHER")
