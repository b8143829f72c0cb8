"""A service for one command: what those that score, embed, rank or write from here have in common."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from blip_serve.errors import ModelNotFound, ServiceError, Unavailable
from blip_serve.images.decode import own_formats
from blip_serve.loading import check_device
from blip_serve.settings import Settings
from blip_serve.tasks.service import Tasks, open_service
from blip_serve.telemetry import Telemetry, printable

T = TypeVar("T")

DOWNLOAD_S = 3600.0
"""Time for a first download, a load and the answer."""


def settings_of(config: Path | None) -> Settings:
    """The settings as they are here: loads what is asked for and nothing else, and says nothing of it.

    The files are one's own: all formats are read that can be.

    Raises `ConfigurationError`.
    """
    settings = Settings.load(config)
    models = tuple(model.model_copy(update={"preload": False}) for model in settings.models)
    log = settings.log.model_copy(update={"level": "error"})
    server = settings.server.model_copy(update={"request_timeout_s": DOWNLOAD_S})
    images = settings.images.model_copy(update={"formats": own_formats()})
    return settings.model_copy(update={"models": models, "log": log, "server": server, "images": images})


@contextmanager
def told_in_a_line() -> Iterator[None]:
    """A `ServiceError` inside ends the process with exit code 1 and its message on standard error."""
    try:
        yield
    except ServiceError as error:
        about = f"{printable(error.param)}: " if error.param else ""
        hint = " `blip-serve models` lists those that do." if isinstance(error, ModelNotFound) else ""
        print(f"blip-serve: {about}{error.message}{hint}", file=sys.stderr)
        sys.exit(1)


def answer(settings: Settings, ask: Callable[[Tasks], Awaitable[T]]) -> T:
    """What `ask` gets of a service of `settings_of` that runs for it alone.

    Raises `ServiceError`, and `ConfigurationError` for a device that is not there.
    """
    # Loads and downloads show bars of tqdm's, which keep clear of one another, and of no other library's.
    with tqdm(bar_format="loading and running", leave=False, disable=None):
        return run(settings, ask)


def run(settings: Settings, ask: Callable[[Tasks], Awaitable[T]]) -> T:
    """Like `answer`, for a caller that shows by itself what goes on."""
    check_device(settings)
    return asyncio.run(_answer(settings, ask))


async def _answer(settings: Settings, ask: Callable[[Tasks], Awaitable[T]]) -> T:
    async with open_service(settings, Telemetry(settings.log)) as tasks:
        try:
            return await ask(tasks)
        except Unavailable as error:
            raise _with_reason(error, tasks) from None


def _with_reason(error: Unavailable, tasks: Tasks) -> ServiceError:
    """Why a model could not be loaded: here is no models page to look it up."""
    failed = [f"The model '{model.id}' could not be loaded: {model.error}." for model in tasks.models() if model.error]
    return Unavailable(" ".join(failed), code=error.code) if failed else error
