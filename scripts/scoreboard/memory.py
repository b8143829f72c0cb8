"""A process's memory, threads and descriptors over time."""

import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

INTERVAL_S = 0.5
MB = 1e6

Sample = tuple[float, float]
"""Seconds since the start, and resident bytes."""


@dataclass(slots=True)
class Watch:
    """Resident memory of a process, as it is sampled."""

    samples: list[Sample] = field(default_factory=list)

    def after(self, seconds: float) -> list[Sample]:
        """The samples from then on."""
        return [sample for sample in self.samples if sample[0] >= seconds]


@contextmanager
def watched(pid: int) -> Iterator[Watch]:
    """Samples while inside."""
    process, watch, ended = psutil.Process(pid), Watch(), threading.Event()
    started = time.monotonic()

    def sample() -> None:
        while not ended.wait(INTERVAL_S):
            watch.samples.append((time.monotonic() - started, float(process.memory_info().rss)))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        ended.set()
        thread.join()


def growth(samples: Sequence[Sample]) -> float:
    """By the straight line that fits best (least squares): its rise from the first to the last, as a share of its start."""
    times, sizes = zip(*samples, strict=True)
    slope, at_zero = statistics.linear_regression(times, sizes)
    return slope * (times[-1] - times[0]) / (at_zero + slope * times[0])
