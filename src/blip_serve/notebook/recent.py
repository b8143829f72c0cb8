"""The pictures that were given last as data and not as files, for notebooks to show.

A script may keep the results of a million pictures. They refer to the pictures weakly, and so do not keep them.
"""

import weakref
from collections import deque

from blip_serve.images.reference import Base64Image, BytesImage

MOST_BYTES = 64 * 1024 * 1024
"""Of all pictures that are kept."""


class Held:
    """A picture's data. Only `Recent` keeps it."""

    __slots__ = ("__weakref__", "source")

    def __init__(self, source: BytesImage | Base64Image) -> None:
        self.source = source


class Recent:
    """Keeps the last pictures, at most `most` bytes of them."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._held = deque[Held]()
        self._bytes = 0

    def keep(self, source: BytesImage | Base64Image) -> "weakref.ref[Held]":
        """A reference to the picture, which is dead once newer ones have taken its place."""
        held = Held(source)
        self._held.append(held)
        self._bytes += _size(source)
        while self._bytes > self._most:
            self._bytes -= _size(self._held.popleft().source)
        return weakref.ref(held)


def _size(source: BytesImage | Base64Image) -> int:
    return len(source.data if isinstance(source, BytesImage) else source.text)
