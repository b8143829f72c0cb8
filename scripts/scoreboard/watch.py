"""A process's resident memory, as it goes."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

from scoreboard.memory import Sample

INTERVAL_S = 0.5


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
