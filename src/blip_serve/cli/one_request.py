"""The service for one command: what the commands that score, embed, rank or write here have in common."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

from blip_serve.errors import ModelNotFound, ServiceError
from blip_serve.in_process import AsyncBlipServe
from blip_serve.settings import Settings
from blip_serve.telemetry import printable

T = TypeVar("T")


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


def answer(settings: Settings, ask: Callable[[AsyncBlipServe], Awaitable[T]]) -> T:
    """The result of `ask`, which is given a service that runs for it alone.

    Raises `ServiceError`, and `ConfigurationError` for a device that is not there.
    """
    # Loads and downloads show bars of tqdm's, which keep clear of one another, and of no other library's.
    with tqdm(bar_format="loading and running", leave=False, disable=None):
        return run(settings, ask)


def run(settings: Settings, ask: Callable[[AsyncBlipServe], Awaitable[T]]) -> T:
    """Like `answer`, for a caller that shows by itself what goes on."""
    return asyncio.run(_ask(settings, ask))


async def _ask(settings: Settings, ask: Callable[[AsyncBlipServe], Awaitable[T]]) -> T:
    async with AsyncBlipServe(settings) as blip:
        return await ask(blip)
