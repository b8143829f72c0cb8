"""The 95% intervals cover the truth as often as they say, in simulation."""

import numpy as np
import pytest
from numpy.typing import NDArray

from blip_serve.calibration import Rate
from blip_serve.jobs.calibrating.calibrate import best, thresholds
from blip_serve.jobs.calibrating.intervals import effective, precision, rate
from blip_serve.jobs.calibrating.labelled import Pairs
from tests.support.calibrating import calibration

RUNS = 400


def of_counts(hits: int, count: int) -> Rate:
    return rate(np.arange(count) < hits, np.arange(count))


@pytest.mark.parametrize("count", [20, 100, 1000])
@pytest.mark.parametrize("share", [0.001, 0.02, 0.2, 0.5, 0.99])
def test_a_rate_is_covered(count: int, share: float) -> None:
    """The chance that it is, summed over all that can be drawn."""
    hits = np.arange(count + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])
    chances = np.exp(logs[-1] - logs - logs[::-1] + hits * np.log(share) + (count - hits) * np.log1p(-share))
    likely = [int(each) for each in hits if chances[each] > 1e-7]
    covered = sum(chances[each] for each in likely if (found := of_counts(each, count)).low <= share <= found.high)
    assert covered >= 0.935
    assert covered + sum(chances) - sum(chances[likely]) <= 1 + 1e-6


@pytest.mark.parametrize("true", [50, 500])
@pytest.mark.parametrize("recall", [0.5, 0.95])
@pytest.mark.parametrize("false_rate", [0.002, 0.05, 0.3])
@pytest.mark.parametrize("prior", [0.05, 0.5])
def test_a_precision_is_covered(true: int, recall: float, false_rate: float, prior: float) -> None:
    rng = np.random.default_rng(0)
    false = 300
    of_true = {int(each): of_counts(int(each), true) for each in range(true + 1)}
    of_false = {int(each): of_counts(int(each), false) for each in range(false + 1)}
    expected = prior * recall / (prior * recall + (1 - prior) * false_rate)
    drawn = zip(rng.binomial(true, recall, RUNS), rng.binomial(false, false_rate, RUNS), strict=True)
    found = [precision(of_true[int(kept)], of_false[int(wrong)], prior) for kept, wrong in drawn]
    assert np.mean([each.low <= expected <= each.high for each in found]) >= 0.93
    assert np.mean([each.low <= expected for each in found]) >= 0.95  # what a threshold is chosen by


@pytest.mark.parametrize("each", [2, 5])
def test_pairs_of_one_picture_count_as_fewer(each: int) -> None:
    """All pairs of a picture share its own rate, which is drawn."""
    rng = np.random.default_rng(0)
    pictures = np.repeat(np.arange(150), each)
    covered, naive = [], []
    for _ in range(RUNS):
        hits = rng.random(150 * each) < np.repeat(rng.beta(1.6, 0.4, 150), each)
        found, alone = rate(hits, pictures), rate(hits, np.arange(150 * each))
        covered.append(found.low <= 0.8 <= found.high)
        naive.append(alone.low <= 0.8 <= alone.high)
    assert np.mean(covered) >= 0.93
    assert np.mean(naive) < np.mean(covered)


def test_what_says_nothing_of_dependence_counts_each_picture_once() -> None:
    pictures = np.array([0, 0, 1, 1, 2, 2])
    assert effective(np.ones(6, bool), pictures) == 3
    assert effective(np.arange(6) % 2 == 0, pictures) == 6  # evenly spread: never more than the pairs
    assert effective(np.arange(6) < 2, pictures) < 3
    assert effective(np.arange(6) < 2, np.arange(6)) == 6


@pytest.mark.parametrize(
    ("kept", "wrong", "ends"), [(50, 0, (0.93, 1.0)), (0, 50, (0.0, 0.08)), (50, 50, (0.48, 0.52)), (0, 1, (0.0, 1.0))]
)
def test_at_the_ends_an_interval_has_its_estimate(kept: int, wrong: int, ends: tuple[float, float]) -> None:
    found = precision(of_counts(kept, 50), of_counts(wrong, 50), 0.5)
    assert ends[0] - 0.03 <= found.low <= found.estimate <= found.high <= ends[1] + 0.03


def logit(scores: float) -> float:
    return float(np.log(scores / (1 - scores)))


@pytest.mark.parametrize(("count", "prior", "apart"), [(300, 0.5, 2.0), (2000, 0.2, 2.5)])
def test_a_threshold_that_is_chosen_holds_its_precision(count: int, prior: float, apart: float) -> None:
    """Though it is the lowest of many that seemed to: true scores are `apart` standard deviations above false ones."""
    rng, asked, chosen, missed = np.random.default_rng(0), 0.9, 0, 0
    many = rng.normal(0, 1, 50_000)
    for _ in range(20):
        fitted, tested = (rng.normal(0, 1, count) + apart * (np.arange(count) % 2 == 0) for _ in range(2))
        found = picked(fitted, tested, prior, asked)
        if found is not None:
            recall, false_rate = (many + apart >= logit(found)).mean(), (many >= logit(found)).mean()
            chosen += 1
            missed += prior * recall / (prior * recall + (1 - prior) * false_rate) < asked
    assert chosen > 2  # it is found where it is there
    assert missed <= 1


def test_where_no_threshold_has_the_precision_one_is_hardly_ever_promised() -> None:
    """Each score above 1 says the same: 78% are true. Many thresholds, each of which might seem to have 80%."""
    rng, count, asked = np.random.default_rng(0), 600, 0.8
    high = np.array([0.78, 0.22])[np.arange(count) % 2]  # of true and false pairs: how many score above 1
    halves = [np.where(rng.random((40, count)) < high, 1, 0) + rng.random((40, count)) for _ in range(2)]
    promised = sum(picked(fitted, tested, 0.5, asked) is not None for fitted, tested in zip(*halves, strict=True))
    assert promised <= 1


def picked(fitted: NDArray[np.float64], tested: NDArray[np.float64], prior: float, asked: float) -> float | None:
    """The threshold for a precision, of the logits of two halves in which every second pair is true."""
    halves = [Pairs(each, np.arange(len(each)) % 2 == 0, np.arange(len(each))) for each in (fitted, tested)]
    table = thresholds(halves[0].scores, halves[1], prior)
    found = calibration(thresholds=table, best=best(table, halves[0], prior)).threshold_for(asked)
    return None if found is None else found.itm_score
