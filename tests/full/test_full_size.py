"""Parity at full base and large size, with random weights in both file formats and both layouts."""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from blip_serve.domain import MatchScores, ScoringProtocol
from blip_serve.models.match_works import MatchWork
from blip_serve.models.matcher import Matcher
from tests.support.checkpoints import BASE, LARGE, Layout, Size, build
from tests.support.loading import load_matcher
from tests.support.pictures import encoded, picture
from tests.support.reference import Reference
from tests.support.running import item, run_prepared

pytestmark = [pytest.mark.full, pytest.mark.timeout(1800)]

TOLERANCE = 1e-5
IMAGES = [encoded(picture(1, 640, 480), "jpeg"), encoded(picture(2, 120, 500))]
CAPTIONS = [
    "A woman and her dog sitting in a beach.",
    "two cats",
    "a photograph of (at least) three people; one of them holding a red umbrella, on a street at night!",
]
PROTOCOLS: tuple[ScoringProtocol, ...] = ("hf", "paper")
KINDS: dict[str, tuple[Size, bool, Layout]] = {
    "base safetensors 2022": (BASE, False, "2022"),
    "base bin transformers 5": (BASE, True, "transformers 5"),
    "large safetensors transformers 5": (LARGE, False, "transformers 5"),
    "large bin 2022": (LARGE, True, "2022"),
}


@pytest.fixture(scope="module", params=KINDS)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    size, pickled, layout = KINDS[request.param]
    folder = tmp_path_factory.mktemp("full")
    yield build(folder, size, seed=3, pickled=pickled, layout=layout)
    shutil.rmtree(folder)


def test_scores_and_vectors_equal_the_reference(checkpoint: Path) -> None:
    """One mixed batch of ours against one pair at a time of transformers', float32."""
    worst = compare(load_matcher(checkpoint), Reference(checkpoint))
    print(f"\n{checkpoint.name}: " + ", ".join(f"{name} {value:.1e}" for name, value in worst.items()))
    assert max(worst.values()) <= TOLERANCE


def test_bfloat16_is_measured_against_float32(checkpoint: Path) -> None:
    exact, rounded = (scores(load_matcher(checkpoint, dtype=dtype)) for dtype in ("float32", "bfloat16"))
    itm = max(abs((a.itm_score or 0) - (b.itm_score or 0)) for a, b in zip(exact, rounded, strict=True))
    cosine = max(abs((a.cosine_score or 0) - (b.cosine_score or 0)) for a, b in zip(exact, rounded, strict=True))
    print(f"\nbfloat16: ITM probability within {itm:.4f}, cosine within {cosine:.4f} of float32")
    assert itm <= 0.05
    assert cosine <= 0.05


def scores(matcher: Matcher) -> list[MatchScores]:
    prepared = [matcher.prepare(item(image, CAPTIONS, protocol)) for protocol in PROTOCOLS for image in IMAGES]
    return [score for found in run_prepared(matcher, prepared) for score in found]


def compare(matcher: Matcher, reference: Reference) -> dict[str, float]:
    """The largest differences of a mixed batch, by what is compared."""
    asked = list(itertools.product(PROTOCOLS, IMAGES))
    prepared = [matcher.prepare(item(image, CAPTIONS, protocol)) for protocol, image in asked]
    worst = dict.fromkeys(("ITM logits", "cosine", "image vector", "text vector"), 0.0)

    def note(name: str, difference: float) -> None:
        worst[name] = max(worst[name], difference)

    for (protocol, image), made, found in zip(asked, prepared, run_prepared(matcher, prepared), strict=True):
        for caption, score in zip(CAPTIONS, found, strict=True):
            logits, cosine = reference.score(image, caption, protocol)
            assert score.itm_logits is not None
            assert score.cosine_score is not None
            note("ITM logits", max(abs(a - b) for a, b in zip(score.itm_logits, logits, strict=True)))
            note("cosine", abs(score.cosine_score - cosine))
        [work] = made.works
        assert isinstance(work, MatchWork)
        assert work.image.vector is not None
        note("image vector", float((work.image.vector - reference.image_vector(image)).abs().max()))
        for position, text in work.texts:
            assert text.vector is not None
            expected = reference.text_vector(CAPTIONS[position], protocol)
            note("text vector", float((text.vector - expected).abs().max()))
    return worst
