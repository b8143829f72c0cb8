"""Every error as HTTP: OpenAI's envelope, and the one table of statuses. The only place that maps errors."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.types import Scope

from blip_serve.errors import (
    Conflict,
    InternalError,
    InvalidInput,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    RateLimited,
    RequestTooLarge,
    ServiceError,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
)
from blip_serve.telemetry import Telemetry

STATUSES: Mapping[type[ServiceError], tuple[int, str]] = {
    RequestTooLarge: (413, "invalid_request_error"),
    UnsupportedMediaType: (415, "invalid_request_error"),
    ModelNotFound: (404, "invalid_request_error"),
    InvalidInput: (400, "invalid_request_error"),
    Unauthenticated: (401, "authentication_error"),
    PermissionDenied: (403, "permission_error"),
    Conflict: (409, "invalid_request_error"),
    RateLimited: (429, "rate_limit_error"),
    Overloaded: (429, "rate_limit_error"),
    Unavailable: (503, "server_error"),
    ServiceError: (500, "server_error"),
}
"""Status and type of each class of error; the first class an error is an instance of counts."""

HINTS: Mapping[str, str] = {
    "model_not_found": "GET /v1/models lists those that do.",
    "invalid_base64": "A file is sent by what it holds, not by its name: to /v1/match in a form "
    "(curl -F image=@picture.png), elsewhere as a data URI (data:image/png;base64,...).",
}
"""By an error's code, what its message ends with over HTTP: what the client can do next."""


class ErrorBody(BaseModel):
    """One error."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorEnvelope(BaseModel):
    """The shape of every error answer."""

    error: ErrorBody


def answer(error: ServiceError) -> JSONResponse:
    """The error as a response.

    The SDKs retry 409, 429 and 5xx: `x-should-retry: false` tells them not to where trying again only adds load.
    """
    status, _ = _status(error)
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    elif status == HTTPStatus.CONFLICT or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        headers["x-should-retry"] = "false"
    if status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    return _envelope(status, shown(error), headers)


def shown(error: ServiceError) -> ErrorBody:
    """The error as the envelope holds it. A stream that has begun can only send this: its status is already sent."""
    message = f"{error.message} {HINTS.get(error.code, '')}".rstrip()
    return ErrorBody(message=message, type=_status(error)[1], param=error.param, code=error.code)


def invalid_field(fault: ErrorDetails, within: int = 0, at: str = "") -> InvalidInput:
    """An error of pydantic's as one that names the field.

    `within`: how many leading parts of its location are not fields. `at`: the path of what was validated, where that is
    a part of the body.
    """
    kind, param = fault["type"], _path(at, fault["loc"][within:])
    if kind == "json_invalid":
        return InvalidInput("The body is not valid JSON.", code="invalid_json")
    if kind == "missing":
        return InvalidInput(f"'{param}' is required.", code="missing_required_parameter", param=param)
    if kind == "too_long":
        return InvalidInput(f"'{param}' has too many entries.", code=f"too_many_{param}", param=param)
    code = "invalid_type" if kind.endswith("_type") else "invalid_value"
    return InvalidInput(f"'{param or 'the body'}': {fault['msg']}.", code=code, param=param or None)


def install(app: FastAPI) -> None:
    """Makes the app answer every error with the envelope, and never with status 422."""

    async def service_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ServiceError)
        note(error, request.scope, request.app.state.telemetry)
        return answer(error)

    async def validation_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        found = invalid_field(error.errors()[0], within=1)
        note(found, request.scope, request.app.state.telemetry)
        return answer(found)

    async def http_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        body = _http_body(request, error)
        _note(request.scope, request.app.state.telemetry, str(body.code))
        # a cache may keep a 404 by itself; yet while replicas are replaced, the next one may have a page's new files
        return _envelope(error.status_code, body, {"cache-control": "no-store", **(error.headers or {})})

    app.add_exception_handler(ServiceError, service_error)
    app.add_exception_handler(RequestValidationError, validation_error)
    app.add_exception_handler(HTTPException, http_error)


def unexpected() -> InternalError:
    """The answer to an unexpected exception. Its cause is in the log only."""
    return InternalError("The server had an error while processing the request.")


def _status(error: ServiceError) -> tuple[int, str]:
    return next(STATUSES[known] for known in STATUSES if isinstance(error, known))


def note(error: ServiceError, scope: Scope, telemetry: Telemetry) -> None:
    """Counts an error that is answered, and notes it for the request's log line. Logs the cause of a server error."""
    if error.__cause__ is not None and _status(error)[0] >= HTTPStatus.INTERNAL_SERVER_ERROR:
        telemetry.log.error("request_error", code=error.code, exc_info=error.__cause__)
    _note(scope, telemetry, error.code, rejected=isinstance(error, Overloaded | RateLimited))


def _note(scope: Scope, telemetry: Telemetry, code: str, rejected: bool = False) -> None:
    scope.setdefault("state", {})["error_code"] = code
    telemetry.request_failed(code, rejected=rejected)


def _http_body(request: Request, error: HTTPException) -> ErrorBody:
    """The answer to what the framework refuses: unknown paths, methods, and bodies that its parsers cannot read."""
    path = request.scope["path"][:200]  # `request.url` fails where the query is not UTF-8
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_body")
    message = {
        404: f"Unknown path: {request.method} {path}.",
        405: f"{path} does not take {request.method}.",
    }.get(error.status_code, "The body could not be read.")
    return ErrorBody(message=message, type="invalid_request_error", param=None, code=code)


def _envelope(status: int, body: ErrorBody, headers: Mapping[str, str]) -> JSONResponse:
    content: dict[str, Any] = ErrorEnvelope(error=body).model_dump()
    return JSONResponse(content, status, headers)


def _path(at: str, location: tuple[int | str, ...]) -> str:
    """`("images", 1, "url")` as `images[1].url`, below `at`."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return (at + path).removeprefix(".")
