"""When the stages of one traced request ran. Written from any thread; knows no tracer."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

MOST = 32
"""Intervals of one stage that are kept apart: those of the images of most requests. Later ones extend the last."""
SHORT_S = 0.001
"""A wait of less is none: what was waited for was there."""


@dataclass(slots=True)
class Interval:
    """From `start` to `end`, in monotonic seconds. `count`: what ran in it, `busy_s` seconds in all."""

    start: float
    end: float
    busy_s: float
    count: int = 1

    def extend(self, start: float, end: float) -> None:
        """Takes in what ran from `start` to `end`."""
        self.start, self.end = min(self.start, start), max(self.end, end)
        self.busy_s += end - start
        self.count += 1


class Stages:
    """The stages of one request, and its phases on the device. Bounded, however much a request is asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stages: dict[str, list[Interval]] = {}
        self._phases: dict[str, Interval] = {}

    def ran(self, stage: str, start: float, end: float) -> None:
        """A stage ran, for one image or one item."""
        with self._lock:
            kept = self._stages.setdefault(stage, [])
            if len(kept) < MOST:
                kept.append(Interval(start, end, end - start))
            else:
                kept[-1].extend(start, end)

    def waited(self, stage: str, start: float) -> None:
        """A wait ended now that most requests do not have."""
        now = time.monotonic()
        if now - start >= SHORT_S:
            self.ran(stage, start, now)

    def timing(self, stage: str, call: Callable[[], T]) -> Callable[[], T]:
        """`call`, which records its time as the stage's, on whatever thread it runs."""

        def timed() -> T:
            start = time.monotonic()
            try:
                return call()
            finally:
                self.ran(stage, start, time.monotonic())

        return timed

    def stepped(self, phase: str, start: float, end: float) -> None:
        """The device ended a step in which the request took part. A text has many: one interval holds them all."""
        with self._lock:
            if (known := self._phases.get(phase)) is None:
                self._phases[phase] = Interval(start, end, end - start)
            else:
                known.extend(start, end)

    def stages(self) -> list[tuple[str, Interval]]:
        """The stages until now."""
        with self._lock:
            return [(stage, interval) for stage, kept in self._stages.items() for interval in kept]

    def phases(self) -> list[tuple[str, Interval]]:
        """The phases until now."""
        with self._lock:
            return list(self._phases.items())
