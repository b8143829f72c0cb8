"""Limits the memory of the images that are decoded at the same time. Knows no images."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from blip_serve.fair_threads import NotNow

FREE = 16 * 1024 * 1024
"""Bytes. Smaller reservations are not counted, so they never wait for large ones. The number of threads limits them."""


class ByteBudget:
    """`total` bytes that threads share. A larger reservation needs the whole budget, and then fits.

    A reservation older than `patience_s` seconds is no longer counted: its thread hangs, and must not block others.
    """

    def __init__(self, total: int, patience_s: float) -> None:
        self._total = total
        self._patience_s = patience_s
        self._held: dict[object, tuple[int, float]] = {}  # bytes, and the start in monotonic seconds
        self._lock = threading.Lock()

    @contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Reserves `size` bytes inside the `with`. Raises `NotNow` if they are not free."""
        size = 0 if size <= FREE else min(size, self._total)
        key = object()
        with self._lock:
            if not self._fits(size):
                raise NotNow(lambda: self._fits(size))
            self._held[key] = size, time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                del self._held[key]

    def _fits(self, size: int) -> bool:
        oldest = time.monotonic() - self._patience_s
        held = sum(each for each, since in list(self._held.values()) if since > oldest)
        return not size or size <= self._total - held
