"""A bound on the pixels being decoded at once. Knows no images."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class PixelBudget:
    """`pixels` to be shared by threads, first come first served, so that a large image is not passed over for ever."""

    def __init__(self, pixels: int) -> None:
        self._free = pixels
        self._waiting: deque[object] = deque()
        self._changed = Condition()

    @contextmanager
    def reserve(self, pixels: int) -> Iterator[None]:
        """Waits until `pixels` are free and holds them. A thread that holds some must not ask for more.

        `pixels` must not exceed the whole budget: the settings see to that.
        """
        self._take(pixels)
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()

    def _take(self, pixels: int) -> None:
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                self._changed.wait_for(lambda: self._waiting[0] is ticket and pixels <= self._free)
                self._free -= pixels
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
