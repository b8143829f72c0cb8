"""Runs a service for one command. The commands that work without a server share this."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

from blip_serve.errors import CheckpointError, ModelNotFound, ServiceError
from blip_serve.in_process import AsyncBlipServe
from blip_serve.settings import Settings
from blip_serve.telemetry import printable

T = TypeVar("T")


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Turns a `ServiceError` or a `CheckpointError` inside into exit code 1 and one line on standard error."""
    try:
        yield
    except CheckpointError as error:
        print(f"blip-serve: {printable(str(error))}", file=sys.stderr)
        sys.exit(1)
    except ServiceError as error:
        about = f"{printable(error.param)}: " if error.param else ""
        hint = " `blip-serve models` lists those that do." if isinstance(error, ModelNotFound) else ""
        print(f"blip-serve: {about}{printable(error.message)}{hint}", file=sys.stderr)
        sys.exit(1)


def answer(settings: Settings, ask: Callable[[AsyncBlipServe], Awaitable[T]]) -> T:
    """Starts a service, calls `ask` with it, and returns the result of `ask`.

    Raises `ServiceError`, and `ConfigurationError` if the device is not available.
    """
    # Loads and downloads show tqdm bars. This is a tqdm bar too, so that they do not overwrite each other.
    with tqdm(bar_format="loading and running", leave=False, disable=None):
        return run(settings, ask)


def run(settings: Settings, ask: Callable[[AsyncBlipServe], Awaitable[T]]) -> T:
    """Like `answer`, without a progress bar, for a caller that shows its own."""
    return asyncio.run(_ask(settings, ask))


async def _ask(settings: Settings, ask: Callable[[AsyncBlipServe], Awaitable[T]]) -> T:
    async with AsyncBlipServe(settings) as blip:
        return await ask(blip)
