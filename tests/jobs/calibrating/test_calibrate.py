"""A calibration is fitted on one half of the pictures and tested on the other."""

import numpy as np
import pytest

from blip_serve.calibration import Identity
from blip_serve.errors import ConfigurationError
from blip_serve.jobs.calibrating.calibrate import fitted, halves
from blip_serve.jobs.calibrating.labelled import Pairs, logistic_of
from blip_serve.jobs.calibrating.platt import fit
from blip_serve.jobs.calibrating.reliability import calibration_error, reliability
from tests.support.calibrating import drawn

HERE = Identity("sha256:0", "float32")


def test_the_curve_that_drew_the_labels_is_found() -> None:
    pairs, _ = drawn(40_000, seed=0, slope=0.5, bias=1.0)
    assert fit(pairs, pairs.balance) == pytest.approx((0.5, 1.0), abs=0.03)


def test_another_prior_moves_the_bias_by_its_log_odds() -> None:
    pairs, _ = drawn(40_000, seed=1)
    odds = np.log(0.1 / 0.9) - np.log(pairs.balance / (1 - pairs.balance))
    assert fit(pairs, 0.1) == pytest.approx((0.5, 1.0 + odds), abs=0.05)


def test_scores_that_tell_all_pairs_apart_give_a_finite_curve() -> None:
    true = np.arange(100) % 2 == 0
    slope, bias = fit(Pairs(np.where(true, 5.0, -5.0), true, np.arange(100)), 0.5)
    assert logistic_of(np.array([5 * slope + bias])) == pytest.approx(51 / 52, abs=1e-4)  # Platt's target


def test_the_error_falls_on_pairs_that_were_not_fitted_on() -> None:
    found = fitted(*drawn(4000, seed=2), "owner/name", "paper", HERE)
    assert found.calibration.ece.raw > 0.05
    assert found.calibration.ece.calibrated < found.calibration.ece.raw / 2
    assert found.calibration.ece.calibrated == pytest.approx(calibration_error(found.calibrated))
    assert sum(each.pairs for each in found.raw) == found.calibration.tested.true + found.calibration.tested.false


def test_the_file_says_what_it_was_made_of() -> None:
    pairs, digests = drawn(1000, seed=3, each=2)
    found = fitted(pairs, digests, "owner/name", "paper", HERE, prior=0.25).calibration
    assert (found.model, found.protocol, found.dtype, found.digest) == ("owner/name", "paper", "float32", "sha256:0")
    assert found.prior == 0.25
    assert found.fitted.pictures + found.tested.pictures == 500
    assert sum((found.fitted.true, found.fitted.false, found.tested.true, found.tested.false)) == 1000
    assert found.thresholds[0].recall.estimate == pytest.approx(1, abs=0.01)
    assert found.thresholds[0].precision.estimate == pytest.approx(0.25, abs=0.01)  # all are kept: as many as the prior
    assert found.thresholds[-1].precision.estimate > 0.5


def test_no_picture_is_in_both_halves_and_a_seed_chooses() -> None:
    digests = [f"digest {i}" for i in range(1000)]
    assert 430 < halves(digests, 0).sum() < 570
    assert (halves(digests, 0)[:10] == halves(digests[:10], 0)).all()
    assert (halves(digests, 0) != halves(digests, 1)).any()


@pytest.mark.parametrize("count", [0, 1, 50])
def test_too_few_pairs_are_refused_with_the_count(count: int) -> None:
    pairs, digests = drawn(max(count, 1), seed=0)
    with pytest.raises(ConfigurationError, match=r"Too few pairs: half of the pictures have \d+ labelled"):
        fitted(pairs.of(np.arange(max(count, 1)) < count), digests, "m", "hf", HERE)


@pytest.mark.parametrize("label", [True, False])
def test_one_label_alone_is_refused(label: bool) -> None:
    pairs, digests = drawn(1000, seed=0)
    alone = Pairs(pairs.differences, np.full(1000, label), pairs.pictures)
    with pytest.raises(ConfigurationError, match=f"0 labelled {str(not label).lower()}"):
        fitted(alone, digests, "m", "hf", HERE)


def test_scores_that_fall_with_the_label_are_refused() -> None:
    pairs, digests = drawn(1000, seed=0)
    with pytest.raises(ConfigurationError, match="do not rise with the labels"):
        fitted(Pairs(-pairs.differences, pairs.true, pairs.pictures), digests, "m", "hf", HERE)


def test_the_expected_calibration_error_is_the_mean_distance() -> None:
    probabilities, true = np.array([0.05, 0.05, 0.95, 1.0]), np.array([False, True, True, True])
    bins = reliability(probabilities, true, np.array([3.0, 1.0, 1.0, 1.0]))
    assert [(each.pairs, each.low) for each in bins] == [(2, 0), (2, 14 / 15)]
    assert [each.observed for each in bins] == pytest.approx([0.25, 1])
    assert [each.share for each in bins] == pytest.approx([4 / 6, 2 / 6])
    assert calibration_error(bins) == pytest.approx((4 * 0.2 + 2 * 0.025) / 6)
