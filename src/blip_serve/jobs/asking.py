"""Asks again where an error may pass, and says which errors concern the whole run and not one row."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from typing import TypeVar

from blip_serve.domain import GenerationOptions
from blip_serve.errors import (
    ConfigurationError,
    DeadlineExceeded,
    InvalidInput,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    RateLimited,
    ServiceError,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
)
from blip_serve.jobs.operators.operator import Ask
from blip_serve.tasks.request import Request

ResultT = TypeVar("ResultT")

PASSING = (Overloaded, RateLimited, Unavailable)
"""Errors that another request need not meet."""
IN_A_ROW = 64
"""Requests that fail so, without one that succeeds between them, after which the service is taken to be gone."""


class ServiceGone(OSError):
    """No request succeeds any longer. A run ends with it, and goes on later: its rows are not at fault."""


OF_RUN = (ConfigurationError, ModelNotFound, PermissionDenied, ServiceGone, Unauthenticated, UnsupportedMediaType)
"""Errors that every row would meet."""
CODES_OF_RUN = frozenset({"load_failed", "task_not_supported", "unknown_parameter", "unsupported_parameter"})
OPTIONS = frozenset({"model", "protocol", "service_tier", "n", "scores", *(f.name for f in fields(GenerationOptions))})
"""What an error of an option names. An option of the command line begins with `--`."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on asking. `tries`: the most, the first included. `seconds`: from the first try to the last.

    A wait is twice as long as the one before it, from `first_wait_s` to `longest_wait_s`, and at least what the error's
    `retry_after` says.
    """

    tries: int = 12
    seconds: float = 300
    first_wait_s: float = 0.5
    longest_wait_s: float = 30


PATIENT = Patience()


class Asking:
    """Asks by `run` until it succeeds, fails for good, or patience ends.

    Raises `ServiceGone` at the last of `IN_A_ROW` requests in a row that it had no more patience with.
    """

    def __init__(
        self,
        run: Ask,
        patience: Patience = PATIENT,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._patience = patience
        self._sleep = sleep
        self._clock = clock
        self._failed = 0

    async def __call__(self, request: Request[ResultT], /) -> ResultT:
        """The request's result. Raises the last error."""
        try:
            result = await self._patiently(request)
        except PASSING as error:
            self._failed += 1
            if self._failed < IN_A_ROW:
                raise
            words = error.message.removesuffix(".")
            raise ServiceGone(f"{IN_A_ROW} requests in a row failed, the last one with: {words}") from None
        self._failed = 0
        return result

    async def _patiently(self, request: Request[ResultT]) -> ResultT:
        until = self._clock() + self._patience.seconds
        for tried in range(1, self._patience.tries):
            try:
                return await self._run(request)
            except PASSING as error:
                wait = self._wait(error, tried)
                if not is_tried_again(error) or self._clock() + wait > until:
                    raise
            await self._sleep(wait)
        return await self._run(request)

    def _wait(self, error: ServiceError, tried: int) -> float:
        """Seconds to wait after so many tries."""
        growing = self._patience.first_wait_s * 2.0 ** min(tried - 1, 30)
        return max(min(growing, self._patience.longest_wait_s), error.retry_after or 0)


def is_tried_again(error: ServiceError) -> bool:
    """Whether the same request may succeed in a moment.

    Not after its time ran out: it had minutes, and others wait. It may succeed in a later run.
    """
    if isinstance(error, DeadlineExceeded) or ends_run(error):
        return False
    return isinstance(error, PASSING)


def ends_run(error: Exception) -> bool:
    """Whether an error concerns the whole run: the model, the key, an option. Every other row would fail alike."""
    if isinstance(error, OF_RUN):
        return True
    if not isinstance(error, ServiceError):
        return False
    return error.code in CODES_OF_RUN or (isinstance(error, InvalidInput) and _names_option(error))


def _names_option(error: InvalidInput) -> bool:
    """Whether it names an option. A column may have an option's name, but its text is never an invalid value."""
    param = error.param or ""
    return param.startswith("--") or (param in OPTIONS and error.code == InvalidInput.code)
