"""From scored, labelled pairs to a calibration: fitted on the pairs of half the pictures, tested on the others'."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from blip_serve.calibration import Calibration, Error, Identity, Sample, Threshold
from blip_serve.domain import ScoringProtocol
from blip_serve.errors import ConfigurationError
from blip_serve.jobs.calibrating.intervals import precision, rate
from blip_serve.jobs.calibrating.labelled import Pairs, logistic_of
from blip_serve.jobs.calibrating.platt import fit
from blip_serve.jobs.calibrating.reliability import Bin, calibration_error, reliability

FEWEST = 20
"""Pairs of each label that each half must have: with fewer, an interval says next to nothing."""
THRESHOLDS = 60
"""At quantiles of the fitted half's scores, which know nothing of the labels that they are tested on."""


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A calibration, and the reliability of the scores that it was tested on, before and after."""

    calibration: Calibration
    raw: tuple[Bin, ...]
    calibrated: tuple[Bin, ...]


def fitted(
    pairs: Pairs,
    digests: Sequence[str],
    model: str,
    protocol: ScoringProtocol,
    identity: Identity,
    prior: float | None = None,
    seed: int = 0,
) -> Calibrated:
    """Fits and tests. `digests`: of the pictures by number. `prior`: by default the share of true pairs.

    Raises `ConfigurationError` for pairs that tell too little: too few of a label, or scores that do not rise with it.
    """
    chosen = pairs.balance if prior is None else prior
    in_half = halves(digests, seed)[pairs.pictures] if len(pairs.true) else np.zeros(0, bool)
    fitted, tested = pairs.of(in_half), pairs.of(~in_half)
    _check_enough(fitted, tested)
    slope, bias = fit(fitted, chosen)
    if slope <= 0:
        raise ConfigurationError("The scores do not rise with the labels: are they of these pairs, and not swapped?")
    weights, table = tested.weights(chosen), thresholds(fitted.scores, tested, chosen)
    raw = reliability(tested.scores, tested.true, weights)
    calibrated = reliability(logistic_of(tested.differences * slope + bias), tested.true, weights)
    found = Calibration(
        model=model,
        digest=identity.digest,
        protocol=protocol,
        dtype=identity.dtype,
        temperature=1 / slope,
        bias=bias,
        prior=chosen,
        fitted=_sample(fitted),
        tested=_sample(tested),
        ece=Error(raw=calibration_error(raw), calibrated=calibration_error(calibrated)),
        thresholds=table,
        best=best(table, fitted, chosen),
    )
    return Calibrated(found, raw, calibrated)


def halves(digests: Sequence[str], seed: int) -> NDArray[np.bool_]:
    """Whether each picture is in the first half: by lot, the same for the same picture, whatever others there are."""
    return np.array([sha256(f"{seed}/{digest}".encode()).digest()[0] % 2 == 0 for digest in digests], bool)


def thresholds(scores: NDArray[np.float64], tested: Pairs, prior: float) -> tuple[Threshold, ...]:
    """Precision and recall on `tested`, at quantiles of other `scores`. Thresholds that keep no pair are left out."""
    wanted = np.unique(np.quantile(scores, np.linspace(0, 1, THRESHOLDS), method="inverted_cdf"))
    true, false = tested.of(tested.true), tested.of(~tested.true)
    found = []
    for score in map(float, wanted):
        kept = int((tested.scores >= score).sum())
        if kept:
            recall, false_rate = (rate(part.scores >= score, part.pictures) for part in (true, false))
            found.append(
                Threshold(itm_score=score, kept=kept, precision=precision(recall, false_rate, prior), recall=recall)
            )
    return tuple(found)


def best(table: Sequence[Threshold], fitted: Pairs, prior: float) -> float:
    """Which threshold of `table` has the highest precision on the pairs fitted on, at the lower end of its interval."""
    there = {each.itm_score for each in table}
    known = [each for each in thresholds(fitted.scores, fitted, prior) if each.itm_score in there]
    return max(known, key=lambda each: each.precision.low).itm_score


def _check_enough(*parts: Pairs) -> None:
    for part in parts:
        for label in (True, False):
            if (count := int((part.true == label).sum())) < FEWEST:
                raise ConfigurationError(
                    f"Too few pairs: half of the pictures have {count} labelled {str(label).lower()}; both halves need "
                    f"{FEWEST} of each label"
                )


def _sample(pairs: Pairs) -> Sample:
    true = int(pairs.true.sum())
    return Sample(true=true, false=len(pairs.true) - true, pictures=len(np.unique(pairs.pictures)))
