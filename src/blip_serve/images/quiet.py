"""Keeps what decodes TIFFs from writing to standard error what it thinks of a damaged one: a line for each row."""

import ctypes
from contextlib import suppress

from PIL import _imaging


def quiet() -> None:
    """Takes away the handler of libtiff's errors, as Pillow does that of its warnings; decoding still fails by them.

    Does nothing where Pillow's module, with what it is linked to, does not give the function away.
    """
    with suppress(AttributeError, OSError):
        # https://libtiff.gitlab.io/libtiff/functions/TIFFError.html
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)
