"""Whether memory grows, from samples of it."""

import statistics
from collections.abc import Sequence

MB = 1e6

Sample = tuple[float, float]
"""Seconds since the start, and resident bytes."""


def growth(samples: Sequence[Sample]) -> float:
    """By the straight line that fits best (least squares): its rise from first to last, as a share of its start."""
    times, sizes = zip(*samples, strict=True)
    line = statistics.linear_regression(times, sizes)
    rise: float = line.slope * (times[-1] - times[0])
    start: float = line.intercept + line.slope * times[0]
    return rise / start
