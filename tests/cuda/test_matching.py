"""Scores equal transformers' within 1e-5 in float32, and within what is stated here in sixteen bits."""

import itertools

import pytest
import torch

from blip_serve.catalogue import EMBEDDED
from blip_serve.domain import MatchScores, ScoringProtocol
from tests.cuda.conftest import Place
from tests.support.loading import load_matcher
from tests.support.reference import Reference
from tests.support.running import item, run

IMAGES = [(EMBEDDED / "pictures" / name).read_bytes() for name in ("red-circle.png", "two-purple-squares.png")]
CAPTIONS = ["a large red circle", "A star.", "a small blue square (at least one) and a green star; two yellow rings!"]
PROTOCOLS: list[ScoringProtocol] = ["hf", "paper"]
PAIRS = list(itertools.product(IMAGES, PROTOCOLS, CAPTIONS))
EXACT = 1e-5
BOUNDS = {
    ("demo", "float16"): (0.004, 0.002),
    ("demo", "bfloat16"): (0.02, 0.01),
    ("base", "float16"): (0.01, 0.01),
    ("base", "bfloat16"): (0.05, 0.05),
}
"""Largest differences allowed in ITM probability and cosine: those that hold on a CPU."""

Wanted = list[tuple[list[float], float]]


@pytest.fixture(scope="module")
def wanted(place: Place) -> Wanted:
    """ITM logits and cosine of each of `PAIRS`."""
    reference = Reference(place.checkpoint("retrieval"))
    return [reference.score(image, caption, protocol) for image, protocol, caption in PAIRS]


def found(place: Place, dtype: str) -> list[MatchScores]:
    matcher = load_matcher(place.checkpoint("retrieval"), device=place.device, dtype=dtype)
    items = [item(image, CAPTIONS, protocol) for image, protocol in itertools.product(IMAGES, PROTOCOLS)]
    together = run(matcher, *items)
    assert together == run(matcher, *items), "a known image has the scores of a new one"
    return [score for scores in together for score in scores]


def test_float32_equals_the_reference(place: Place, wanted: Wanted) -> None:
    scores = found(place, "float32")
    assert [score.itm_logits for score in scores] == [pytest.approx(logits, abs=EXACT) for logits, _ in wanted]
    assert [score.cosine_score for score in scores] == pytest.approx([cosine for _, cosine in wanted], abs=EXACT)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bits_are_near_it(place: Place, wanted: Wanted, dtype: str) -> None:
    itm, cosine = BOUNDS[place.size, dtype]
    scores = found(place, dtype)
    probabilities = torch.tensor([logits for logits, _ in wanted]).softmax(dim=-1)[:, 1].tolist()
    assert [score.itm_score for score in scores] == pytest.approx(probabilities, abs=itm)
    assert [score.cosine_score for score in scores] == pytest.approx([wanted for _, wanted in wanted], abs=cosine)
