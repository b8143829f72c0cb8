"""The errors of the service. Knows no HTTP: `api/errors.py` maps each class to a status."""

from pathlib import Path


class ServiceError(Exception):
    """An error that the client sees.

    `message` is sent to the client unchanged. It names the field and the remedy, and never a path, a library or a
    traceback. `code`: the machine-readable reason. `param`: the request's field, such as `images[1]`. `retry_after`:
    whole seconds after which the same request may succeed (`None`: a retry would only add load).
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


class ImageHostBusy(InvalidInput):
    """The server of an image's URL says to come later. To a client of ours it is a fetch that failed, as any other."""

    code = "image_fetch_failed"


class RequestTooLarge(InvalidInput):
    """The body is over the limit."""

    code = "request_too_large"


class UnsupportedMediaType(InvalidInput):
    """The body is of a type the endpoint does not read."""

    code = "unsupported_content_type"


class ModelNotFound(InvalidInput):
    """No model of that name is served."""

    code = "model_not_found"


class Conflict(ServiceError):
    """What is asked contradicts the state that something is in."""

    code = "conflict"


class Unauthenticated(ServiceError):
    """The API key is missing or wrong."""

    code = "invalid_api_key"


class PermissionDenied(ServiceError):
    """The API key is valid but does not allow this."""

    code = "model_not_allowed"


class RateLimited(ServiceError):
    """The API key has reached its rate or concurrency limit. No work was done."""

    code = "rate_limit_exceeded"


class Overloaded(ServiceError):
    """The queue is full. No work was done."""

    code = "overloaded"


class Unavailable(ServiceError):
    """Not possible now: a model is loading or failed to load, the service drains, or the device failed."""

    code = "unavailable"


class DeadlineExceeded(Unavailable):
    """The request's deadline passed before it was answered."""

    code = "deadline_exceeded"


class OutOfMemory(Unavailable):
    """Out of memory: on the device for a step, or in the process for an image."""

    code = "out_of_memory"


class InternalError(ServiceError):
    """A bug in the service. The cause is in the log, not in the message."""


def not_finite() -> InternalError:
    """The error of a work for which the model returned NaN or infinity. It has its own code in the metrics."""
    return InternalError("The model gave no finite score for this input.", code="not_finite")


class DeviceLost(Exception):
    """The device has failed. The engine ends, and the process with it."""


class ConfigurationError(Exception):
    """The settings are invalid, and the service does not start. The message names the file and the key."""


class CheckpointError(Exception):
    """A checkpoint cannot be loaded. The message is for the log; `brief`, without folders, is for the models page.

    `source`: the file or folder at fault, or a name on the hub.
    """

    def __init__(self, source: Path | str, reason: str) -> None:
        super().__init__(f"{source}: {reason}")
        self.brief = f"{source.name if isinstance(source, Path) else source}: {reason}"
