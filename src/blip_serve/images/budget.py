"""A bound on the memory of the images being decoded at once. Knows no images."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

FREE = 16 * 1024 * 1024
"""Bytes. What takes no more is not counted: the threads that decode bound it, and nothing large holds it up."""


class ByteBudget:
    """`total` bytes for threads to share, first come first served, so that no large image is passed over for ever.

    What weighs more than all of it has it for itself.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._free = total
        self._waiting: deque[object] = deque()
        self._changed = Condition()

    @contextmanager
    def reserve(self, weight: int, timeout: float) -> Iterator[bool]:
        """Waits until `weight` bytes are free and holds them; `False`: they were not within `timeout` seconds.

        A thread that holds some must not ask for more.
        """
        weight = 0 if weight <= FREE else min(weight, self._total)
        held = not weight or self._take(weight, timeout)
        try:
            yield held
        finally:
            if held and weight:
                with self._changed:
                    self._free += weight
                    self._changed.notify_all()

    def _take(self, weight: int, timeout: float) -> bool:
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            held = self._changed.wait_for(lambda: self._waiting[0] is ticket and weight <= self._free, timeout)
            self._free -= weight * held
            self._waiting.remove(ticket)
            self._changed.notify_all()
            return held
