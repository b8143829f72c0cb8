"""A bound on the memory of the images being decoded at once. Knows no images."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from blip_serve.fair_threads import NotNow

FREE = 16 * 1024 * 1024
"""Bytes. What takes no more is not counted: the threads that decode bound it, and nothing large holds it up."""


class ByteBudget:
    """`total` bytes for threads to share. What weighs more than all of it has it for itself.

    Bytes held for longer than `patience_s` count no more: whoever holds them hangs, and shall hold up nobody else.
    """

    def __init__(self, total: int, patience_s: float) -> None:
        self._total = total
        self._patience_s = patience_s
        self._held: dict[object, tuple[int, float]] = {}  # bytes, and since when (monotonic seconds)
        self._lock = threading.Lock()

    @contextmanager
    def reserve(self, weight: int) -> Iterator[None]:
        """Holds `weight` bytes while inside. Raises `NotNow` where they are not free."""
        weight = 0 if weight <= FREE else min(weight, self._total)
        key = object()
        with self._lock:
            if not self._fits(weight):
                raise NotNow(lambda: self._fits(weight))
            self._held[key] = weight, time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                del self._held[key]

    def _fits(self, weight: int) -> bool:
        oldest = time.monotonic() - self._patience_s
        held = sum(weight for weight, since in list(self._held.values()) if since > oldest)
        return not weight or weight <= self._total - held
