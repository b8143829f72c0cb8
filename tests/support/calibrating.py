"""Calibrations that nobody fitted, and drawn scores of which the truth is known."""

from functools import cache
from typing import Any

import numpy as np

from blip_serve.calibration import Calibration, Identity, Rate, Threshold
from blip_serve.catalogue import EMBEDDED
from blip_serve.jobs.calibrating.labelled import Pairs, logistic_of
from blip_serve.models.digests import checkpoint_digest, file_digests

DEMO = "blip-serve/demo-retrieval"


@cache
def demo_identity() -> Identity:
    """Of the embedded retrieval checkpoint in float32."""
    return Identity(checkpoint_digest(file_digests(EMBEDDED / "demo-retrieval")), "float32")


def threshold(score: float, precision: float, recall: float) -> Threshold:
    """With intervals of +-0.02."""
    rates = [Rate(estimate=each, low=max(0, each - 0.02), high=min(1, each + 0.02)) for each in (precision, recall)]
    return Threshold(itm_score=score, kept=100, precision=rates[0], recall=rates[1])


NOBODYS = Identity("sha256:0", "float32")


def calibration(identity: Identity = NOBODYS, **other: Any) -> Calibration:
    """One with three thresholds."""
    fields: dict[str, Any] = {
        "model": DEMO,
        "digest": identity.digest,
        "dtype": identity.dtype,
        "protocol": "hf",
        "temperature": 2.0,
        "bias": 0.5,
        "prior": 0.3,
        "fitted": {"true": 30, "false": 70, "pictures": 100},
        "tested": {"true": 30, "false": 70, "pictures": 100},
        "ece": {"raw": 0.1, "calibrated": 0.02},
        "thresholds": (threshold(0.1, 0.7, 0.95), threshold(0.5, 0.93, 0.8), threshold(0.9, 0.97, 0.4)),
        "best": 0.9,
    }
    return Calibration.model_validate(fields | other)


def drawn(count: int, seed: int, slope: float = 0.5, bias: float = 1.0, each: int = 1) -> tuple[Pairs, list[str]]:
    """Pairs, `each` of a picture, that are true with the probability `logistic(slope * difference + bias)`."""
    rng = np.random.default_rng(seed)
    differences = rng.normal(-1, 6, count)
    true = rng.random(count) < logistic_of(slope * differences + bias)
    pictures = np.arange(count) // each
    return Pairs(differences, true, pictures), [f"picture {i}" for i in range(int(pictures[-1]) + 1)]
