"""Stops libtiff from writing to standard error: for a damaged file it writes one line per image row."""

import ctypes
from contextlib import suppress

from PIL import _imaging


def quiet() -> None:
    """Removes libtiff's error handler, as Pillow does with the warning handler. Errors still make decoding fail.

    Does nothing if libtiff's function cannot be reached through Pillow's module.
    """
    with suppress(AttributeError, OSError):
        # https://libtiff.gitlab.io/libtiff/functions/TIFFError.html
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)
