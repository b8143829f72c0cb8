"""What can go wrong, as the service says it. Knows no HTTP: `api/errors.py` gives each class its status."""

from pathlib import Path


class ServiceError(Exception):
    """An answer other than success.

    `message` goes to the client as it is: it names the field and the remedy, never a path, a library or a traceback.
    `code` is the machine-readable reason, `param` the path of the request's field (`images[1]`), `retry_after` whole
    seconds after which the same request may succeed (`None`: trying again only adds load).
    """

    code = "internal_error"

    def __init__(
        self, message: str, *, code: str | None = None, param: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.param = param
        self.retry_after = retry_after


class InvalidInput(ServiceError):
    """The request itself is wrong; the same request will never succeed."""

    code = "invalid_value"


class RequestTooLarge(InvalidInput):
    """The body is over the limit."""

    code = "request_too_large"


class UnsupportedMediaType(InvalidInput):
    """The body is of a type the endpoint does not read."""

    code = "unsupported_content_type"


class ModelNotFound(InvalidInput):
    """No model of that name is served."""

    code = "model_not_found"


class Unauthenticated(ServiceError):
    """The API key is missing or wrong."""

    code = "invalid_api_key"


class PermissionDenied(ServiceError):
    """The API key is good, but not for this."""

    code = "model_not_allowed"


class RateLimited(ServiceError):
    """The API key's rate or concurrency is used up; nothing was done."""

    code = "rate_limit_exceeded"


class Overloaded(ServiceError):
    """The queue has no room; nothing was done."""

    code = "overloaded"


class Unavailable(ServiceError):
    """Not now: a model is loading or failed to load, the service drains, the device is out of memory or gone."""

    code = "unavailable"


class DeadlineExceeded(Unavailable):
    """The request's time ran out before its answer was there."""

    code = "deadline_exceeded"


class OutOfMemory(Unavailable):
    """There was no memory: of the device for a step, or of the process for an image."""

    code = "out_of_memory"


class InternalError(ServiceError):
    """A fault of ours; the cause is in the log, not in the message."""


def not_finite() -> InternalError:
    """What a work fails with whose model gave NaN or infinity: counted by a code of its own."""
    return InternalError("The model gave no finite score for this input.", code="not_finite")


class DeviceLost(Exception):
    """The device does not work any more; the engine ends, and the process with it."""


class ConfigurationError(Exception):
    """The settings cannot be used. The message names the file and the key; the start is refused."""


class CheckpointError(Exception):
    """A checkpoint cannot be loaded, and why: in full for the log, with `brief` for the models page.

    `place`: the file or folder at fault, or a name on the hub.
    """

    def __init__(self, place: Path | str, reason: str) -> None:
        super().__init__(f"{place}: {reason}")
        self.brief = f"{place.name if isinstance(place, Path) else place}: {reason}"
