"""Platt scaling: fits a logistic curve to logit differences and labels."""

import numpy as np
from numpy.typing import NDArray

from blip_serve.jobs.calibrating.labelled import Pairs, logistic_of

STEPS, HALVINGS = 100, 40
CONVERGED = 1e-10
"""Decrement of Newton's method, relative to the pairs' number, below which a fit has converged."""


def fit(pairs: Pairs, prior: float) -> tuple[float, float]:
    """The slope and the bias of `logistic(slope * difference + bias)` that fit best where `prior` of pairs are true.

    Newton's method with halved steps (Lin, Lin and Weng, 2007: "A note on Platt's probabilistic outputs for support
    vector machines"). A label stands for a probability a little inside 0..1 (Platt, 1999), so the curve stays finite
    though a score tells all pairs apart. Both labels must occur.
    """
    true = int(pairs.true.sum())
    false = len(pairs.true) - true
    targets = np.where(pairs.true, (true + 1) / (true + 2), 1 / (false + 2))  # Platt's, by Bayes with a flat prior
    weights = pairs.weights(prior)
    inputs = np.stack([pairs.differences, np.ones_like(pairs.differences)])  # (2, N)
    found = np.array([0.0, np.log(prior / (1 - prior))])
    loss = _loss(found, inputs, targets, weights)
    for _ in range(STEPS):
        predicted = logistic_of(found @ inputs)
        gradient = inputs @ (weights * (predicted - targets))
        hessian = (inputs * (weights * predicted * (1 - predicted))) @ inputs.T + 1e-12 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        if gradient @ step < CONVERGED * len(targets):
            break
        for halving in range(HALVINGS):
            tried = found - step / 2**halving
            if (lower := _loss(tried, inputs, targets, weights)) < loss:
                found, loss = tried, lower
                break
        else:
            break
    return float(found[0]), float(found[1])


def _loss(
    found: NDArray[np.float64],
    inputs: NDArray[np.float64],
    targets: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> float:
    """Weighted cross-entropy: log(1 + e^z) - t z."""
    z = found @ inputs
    return float(weights @ (np.logaddexp(0, z) - targets * z))
