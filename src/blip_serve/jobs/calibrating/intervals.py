"""95% intervals: of rates, and of the precision that follows from two rates and a prior."""

import math

import numpy as np
from numpy.typing import NDArray

from blip_serve.calibration import Rate

Z = 2.0
"""Standard errors: Agresti and Coull's own, "add two successes and two failures". With 1.96 coverage falls to 94%."""


def rate(hits: NDArray[np.bool_], pictures: NDArray[np.int64]) -> Rate:
    """The share of `hits` (N,), each of a pair of a picture, with Agresti and Coull's interval (1998: "Approximate is
    better than 'exact' for interval estimation of binomial proportions").

    Unlike Wilson's, it covers rates near 0 and 1 too (Brown, Cai and DasGupta, 2001). N must be at least 1.
    """
    share, count = float(hits.mean()), effective(hits, pictures)
    centre = (share * count + Z * Z / 2) / (count + Z * Z)
    half = Z * math.sqrt(centre * (1 - centre) / (count + Z * Z))
    return Rate(estimate=share, low=max(0.0, min(share, centre - half)), high=min(1.0, max(share, centre + half)))


def effective(hits: NDArray[np.bool_], pictures: NDArray[np.int64]) -> float:
    """As how many independent pairs these count: pairs of one picture tend to be right or wrong together.

    The design effect of Rao and Scott (1992: "A simple method for the analysis of clustered binary data"), at least 1.
    Where all pairs are hits, or none is, nothing tells it: each picture then counts once.
    """
    share, (of_picture, inverse) = float(hits.mean()), np.unique(pictures, return_inverse=True)
    clusters, pairs = len(of_picture), len(hits)
    if clusters == pairs:
        return pairs
    if clusters == 1 or share in (0.0, 1.0):
        return clusters
    residuals = np.bincount(inverse, weights=hits - share)
    variance = clusters / (clusters - 1) * float(residuals @ residuals) / pairs**2
    return pairs / max(1.0, variance * pairs / (share * (1 - share)))


def precision(recall: Rate, false_rate: Rate, prior: float) -> Rate:
    """The share of true pairs among the kept, where `prior` of all are true, and `recall` of them and `false_rate` of
    the others are kept.

    It falls with the ratio of the two rates, whose interval is made of theirs (MOVER-R: Donner and Zou, 2012,
    "Closed-form confidence intervals for functions of the normal mean and standard deviation"; Newcombe, 2016). One of
    the rates at least must be above 0.
    """
    low, high = _ratio(false_rate, recall)
    odds = (1 - prior) / prior
    kept = prior * recall.estimate + (1 - prior) * false_rate.estimate
    return Rate(estimate=prior * recall.estimate / kept, low=1 / (1 + odds * high), high=1 / (1 + odds * low))


def _ratio(above: Rate, below: Rate) -> tuple[float, float]:
    """The 95% interval of the ratio of two independent rates; the upper end may be infinite."""
    a, b = above.estimate, below.estimate
    product = (a * b) ** 2
    low_root = math.sqrt(max(0.0, product - above.low * below.high * (2 * a - above.low) * (2 * b - below.high)))
    high_root = math.sqrt(max(0.0, product - above.high * below.low * (2 * a - above.high) * (2 * b - below.low)))
    low = 0.0 if above.low == 0 else above.low * (2 * a - above.low) / (a * b + low_root)  # rationalised: no 0 / 0
    high = math.inf if below.low == 0 else (a * b + high_root) / (below.low * (2 * b - below.low))
    return low, high
