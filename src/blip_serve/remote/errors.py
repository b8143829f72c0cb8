"""A server's error answers as the errors that they were made of."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

from pydantic import BaseModel, ValidationError

from blip_serve.errors import (
    ConfigurationError,
    DeadlineExceeded,
    InternalError,
    InvalidInput,
    ModelNotFound,
    OutOfMemory,
    Overloaded,
    PermissionDenied,
    RateLimited,
    RequestTooLarge,
    ServiceError,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
)

Rename = Callable[[str], str]
"""From the field of the request over HTTP to what the task's request calls it."""

BY_CODE: Mapping[str, type[ServiceError]] = {
    kind.code: kind for kind in (ModelNotFound, RateLimited, Overloaded, DeadlineExceeded, OutOfMemory)
}
BY_STATUS: Mapping[int, type[ServiceError]] = {
    401: Unauthenticated,
    403: PermissionDenied,
    408: Unavailable,
    413: RequestTooLarge,
    415: UnsupportedMediaType,
    429: Overloaded,
    500: InternalError,
}
UNKNOWN_PATH = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
LONGEST = 1000
"""Characters of a message, of a code and of a field's name that are kept."""
LONGEST_WAIT_S = 86_400


class ErrorBody(BaseModel):
    """One error."""

    message: str
    param: str | None = None
    code: str | None = None


class Envelope(BaseModel):
    """The shape of an error answer."""

    error: ErrorBody


def error_of(status: int, headers: Mapping[str, str], content: bytes, server: str, rename: Rename) -> Exception:
    """The error that an answer tells of. `server`: its address, for messages.

    `ConfigurationError` where this is no blip-serve. A 5xx without an envelope comes from something in between, such as
    a load balancer, and may pass.
    """
    body = _body(content)
    if body is None:
        return _foreign(status, headers, server)
    if status in UNKNOWN_PATH and body.code != ModelNotFound.code:
        return ConfigurationError(f"{server}: {body.message[:LONGEST]} Is this a blip-serve, and its base address?")
    wait = _retry_after(headers)
    return error_from(body, _kind(status, body.code), rename, wait)


def error_from(
    body: ErrorBody, kind: type[ServiceError], rename: Rename, retry_after: int | None = None
) -> ServiceError:
    """The error of an envelope, or of a pair in an answer. It names the field of the task's request."""
    param = None if body.param is None else rename(body.param)[:LONGEST]
    code = None if body.code is None else body.code[:LONGEST]
    return kind(body.message[:LONGEST], code=code, param=param, retry_after=retry_after)


def kind_of_pair(code: str | None) -> type[ServiceError]:
    """The class of the error of one pair, which has no status."""
    return BY_CODE.get(code or "") or (InternalError if code in (InternalError.code, "not_finite") else InvalidInput)


def not_ours(server: str, what: str) -> ConfigurationError:
    """The error for an answer that no blip-serve gives."""
    return ConfigurationError(f"{server} answers {what}: is this a blip-serve, and its base address?")


def _body(content: bytes) -> ErrorBody | None:
    try:
        return Envelope.model_validate_json(content).error
    except ValidationError:
        return None


def _kind(status: int, code: str | None) -> type[ServiceError]:
    if status in BY_STATUS and status != HTTPStatus.TOO_MANY_REQUESTS:
        return BY_STATUS[status]
    default = Unavailable if status >= HTTPStatus.INTERNAL_SERVER_ERROR else InvalidInput
    return BY_CODE.get(code or "") or BY_STATUS.get(status, default)


def _foreign(status: int, headers: Mapping[str, str], server: str) -> Exception:
    """The error for an answer without an envelope."""
    message = f"{server} answers with status {status}, and not as a blip-serve does."
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Unavailable(message, code="bad_gateway", retry_after=_retry_after(headers))
    if status in BY_STATUS:
        return BY_STATUS[status](message, retry_after=_retry_after(headers))
    return not_ours(server, f"with status {status} and no error that can be read")


def _retry_after(headers: Mapping[str, str]) -> int | None:
    """Whole seconds. A date is passed over."""
    value = headers.get("retry-after", "")
    return min(int(value), LONGEST_WAIT_S) if value.isascii() and value.isdigit() and len(value) < 10 else None
