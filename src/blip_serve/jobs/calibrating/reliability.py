"""Reliability: how often what is given a probability is true, and the expected calibration error."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15
"""Of equal width, as in Guo et al., 2017 ("On calibration of modern neural networks")."""


@dataclass(frozen=True, slots=True)
class Bin:
    """The pairs whose probability is in a part of 0..1.

    `share`: how much of all they are, where as many are true as the prior says. `predicted`: their mean probability.
    `observed`: how many of them are true, 0..1, likewise.
    """

    low: float
    high: float
    pairs: int
    share: float
    predicted: float
    observed: float


def reliability(
    probabilities: NDArray[np.float64], true: NDArray[np.bool_], weights: NDArray[np.float64]
) -> tuple[Bin, ...]:
    """The bins that hold pairs. All arguments (N,). `weights`: of `Pairs.weights`."""
    numbers = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    bins = []
    for number in range(BINS):
        inside = numbers == number
        if weight := float(weights[inside].sum()):
            predicted = float(weights[inside] @ probabilities[inside]) / weight
            observed = float(weights[inside] @ true[inside]) / weight
            share = weight / float(weights.sum())
            bins.append(Bin(number / BINS, (number + 1) / BINS, int(inside.sum()), share, predicted, observed))
    return tuple(bins)


def calibration_error(bins: Sequence[Bin]) -> float:
    """The expected calibration error: the mean distance of what was predicted from what was observed, 0..1.

    Of the probability of a match, not of the likelier label: so a score that is too low counts as one too high.
    """
    return sum(each.share * abs(each.predicted - each.observed) for each in bins)
