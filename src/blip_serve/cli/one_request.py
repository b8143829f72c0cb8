"""One request without a server: what the commands that score, embed, rank or write from here have in common."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import typer
from rich.console import Console

from blip_serve.errors import ServiceError
from blip_serve.images.reference import BytesImage, ImageSource, parse_image
from blip_serve.settings import Settings
from blip_serve.tasks.service import Tasks, open_service
from blip_serve.telemetry import Telemetry

T = TypeVar("T")

DOWNLOAD_S = 3600.0
"""Time for a first download, a load and the answer."""


@contextmanager
def told_in_a_line() -> Iterator[None]:
    """A `ServiceError` inside ends the process with exit code 1 and its message on standard error."""
    try:
        yield
    except ServiceError as error:
        about = f"{error.param}: " if error.param else ""
        print(f"blip-serve: {about}{error.message}", file=sys.stderr)
        sys.exit(1)


def answer(settings: Settings, ask: Callable[[Tasks], Awaitable[T]]) -> T:
    """What `ask` gets of a service that runs for it alone and loads only what it needs. Raises `ServiceError`."""
    with Console(stderr=True).status("loading and running"):
        return run(settings, ask)


def run(settings: Settings, ask: Callable[[Tasks], Awaitable[T]]) -> T:
    """Like `answer`, for a caller that shows by itself what goes on."""
    return asyncio.run(_answer(_for_one_request(settings), ask))


def is_address(image: str) -> bool:
    """Whether it is a URL or a data URI, and no file."""
    return image.lower().startswith(("http://", "https://", "data:"))


def image_source(image: str) -> ImageSource:
    """A file, an http(s) URL or a data URI as a source; its name is its field.

    Raises `typer.BadParameter` for a file that cannot be read, `InvalidInput` for a URL that is none.
    """
    if is_address(image):
        return parse_image(image, image)
    try:
        return BytesImage(Path(image).read_bytes(), image)
    except OSError as error:
        raise typer.BadParameter(f"{image}: {error.strerror}", param_hint="IMAGE") from None


async def _answer(settings: Settings, ask: Callable[[Tasks], Awaitable[T]]) -> T:
    async with open_service(settings, Telemetry(settings.log)) as tasks:
        return await ask(tasks)


def _for_one_request(settings: Settings) -> Settings:
    """Loads what is asked for and nothing else, and says nothing of it."""
    models = tuple(model.model_copy(update={"preload": False}) for model in settings.models)
    log = settings.log.model_copy(update={"level": "error"})
    server = settings.server.model_copy(update={"request_timeout_s": DOWNLOAD_S})
    return settings.model_copy(update={"models": models, "log": log, "server": server})
