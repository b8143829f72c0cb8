"""What commands share that run for long, and go on where they were stopped."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from blip_serve.allocator import keep_memory
from blip_serve.cli.bulk_report import say
from blip_serve.cli.one_request import exit_on_error

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells expect it."""
GO_ON = "the same command goes on from here"


@contextmanager
def long_run(place: object) -> Iterator[None]:
    """Ends the process with a line on standard error for Ctrl-C, SIGTERM, a `ServiceError` and an `OSError`.

    `place`: named where an `OSError` names no file.
    """
    keep_memory()
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        with exit_on_error():
            yield
    except KeyboardInterrupt:
        say(f"stopped; {GO_ON}")
        sys.exit(INTERRUPTED)
    except OSError as error:
        say(f"{words_of(error, place)}; when that is mended, {GO_ON}")
        sys.exit(1)


def words_of(error: OSError, place: object) -> str:
    """An error in words: the file, or else `place`, and what is wrong with it."""
    if error.filename or error.errno:
        return f"{error.filename or place}: {error.strerror}"
    return str(error)


def _as_interrupt(number: int, frame: object) -> None:
    """SIGTERM ends a run as Ctrl-C does."""
    signal.raise_signal(signal.SIGINT)
