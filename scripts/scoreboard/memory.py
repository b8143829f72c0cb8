"""Whether memory grows, from samples of it."""

import statistics
from collections.abc import Sequence

MB = 1e6

Sample = tuple[float, float]
"""Seconds since the start, and resident bytes."""


def growth(samples: Sequence[Sample]) -> float:
    """The growth by a linear fit (least squares): from its first to its last value, relative to the first."""
    times, sizes = zip(*samples, strict=True)
    line = statistics.linear_regression(times, sizes)
    rise: float = line.slope * (times[-1] - times[0])
    start: float = line.intercept + line.slope * times[0]
    return rise / start
