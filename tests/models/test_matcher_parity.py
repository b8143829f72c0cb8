"""Scores equal transformers' within 1e-5 in float32, computed singly and in one mixed batch."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from blip_serve.catalogue import EMBEDDED
from blip_serve.domain import MatchScores, ScoringProtocol
from blip_serve.models.match_works import MatchWork
from blip_serve.models.matcher import Matcher
from tests.support.checkpoints import SMALL, build
from tests.support.loading import load_matcher
from tests.support.pictures import encoded, picture
from tests.support.reference import Reference
from tests.support.running import item, run, run_prepared

TOLERANCE = 1e-5
IMAGES = [encoded(picture(seed, *size)) for seed, size in enumerate([(96, 96), (200, 50), (31, 77)])]
CAPTIONS = [
    "a red circle",
    'A Large Dog, sitting; on the "beach" (with a woman) ... and a man!',
    "cat",
    "two small green squares and the large blue one and a red one of the other two",
]
LONG = " ".join(["a small dog and a large cat"] * 9)  # over 35 tokens: the paper cuts it


@pytest.fixture(
    scope="module",
    params=["demo", "2022 safetensors", "2022 bin", "transformers 5 safetensors", "transformers 5 bin"],
)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "demo":
        return EMBEDDED / "demo-retrieval"
    layout, _, kind = request.param.rpartition(" ")
    return build(tmp_path_factory.mktemp("checkpoint"), seed=5, pickled=kind == "bin", layout=layout)


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> Reference:
    return Reference(checkpoint)


@pytest.fixture
def matcher(checkpoint: Path) -> Matcher:
    return load_matcher(checkpoint)


def difference(found: MatchScores, expected: tuple[list[float], float]) -> float:
    assert found.itm_logits is not None
    assert found.cosine_score is not None
    logits, cosine = expected
    return max(*(abs(a - b) for a, b in zip(found.itm_logits, logits, strict=True)), abs(found.cosine_score - cosine))


@pytest.mark.parametrize("protocol", ["hf", "paper"])
def test_scores_equal_the_reference_singly(matcher: Matcher, reference: Reference, protocol: ScoringProtocol) -> None:
    captions = [*CAPTIONS, LONG] if protocol == "paper" else CAPTIONS
    for image in IMAGES:
        for caption in captions:
            [[found]] = run(matcher, item(image, [caption], protocol))
            assert difference(found, reference.score(image, caption, protocol)) <= TOLERANCE


def test_texts_as_long_as_a_model_reads_equal_the_reference(tmp_path: Path) -> None:
    """37 positions: padded like others of its length, such a text would have 40."""
    folder = build(tmp_path, replace(SMALL, text=SMALL.text | {"max_position_embeddings": 37}), seed=5)
    caption = " ".join(["cat"] * 35)
    [[found]] = run(load_matcher(folder), item(IMAGES[0], [caption]))
    assert difference(found, Reference(folder).score(IMAGES[0], caption, "hf")) <= TOLERANCE


def test_scores_equal_the_reference_in_one_mixed_batch(matcher: Matcher, reference: Reference) -> None:
    """Both protocols, captions of mixed length, images with different numbers of captions, either score alone."""
    items = [
        item(IMAGES[0], CAPTIONS, "hf"),
        item(IMAGES[1], [*CAPTIONS[::-1], LONG], "paper"),
        item(IMAGES[2], CAPTIONS[:1], "hf"),
        item(IMAGES[0], CAPTIONS[1:3], "paper", frozenset({"itm"})),
        item(IMAGES[1], CAPTIONS[1:2], "hf", frozenset({"cosine"})),
    ]
    for asked, scores in zip(items, run(matcher, *items), strict=True):
        for caption, score in zip(asked.captions, scores, strict=True):
            logits, cosine = reference.score(asked.image.data, caption.text, asked.protocol)
            found = MatchScores(
                score.itm_logits if "itm" in asked.scores else (logits[0], logits[1]),
                None,
                score.cosine_score if "cosine" in asked.scores else cosine,
            )
            assert difference(found, (logits, cosine)) <= TOLERANCE
            assert (score.itm_score is None) == ("itm" not in asked.scores)
            assert (score.cosine_score is None) == ("cosine" not in asked.scores)


def test_the_probability_is_the_softmax_of_the_logits(matcher: Matcher) -> None:
    [[found]] = run(matcher, item(IMAGES[0], CAPTIONS[:1]))
    assert found.itm_score == pytest.approx(torch.tensor(found.itm_logits).double().softmax(0)[1].item(), abs=1e-9)


@pytest.mark.parametrize("protocol", ["hf", "paper"])
def test_unit_vectors_equal_the_reference(matcher: Matcher, reference: Reference, protocol: ScoringProtocol) -> None:
    prepared = matcher.prepare(item(IMAGES[0], CAPTIONS, protocol))
    run_prepared(matcher, [prepared])
    for work in prepared.works:
        assert isinstance(work, MatchWork)
        assert work.image.vector is not None
        assert (work.image.vector - reference.image_vector(IMAGES[0])).abs().max() <= TOLERANCE
        for position, text in work.texts:
            assert text.vector is not None
            expected = reference.text_vector(CAPTIONS[position], protocol)
            assert (text.vector - expected).abs().max() <= TOLERANCE
            assert text.vector.norm().item() == pytest.approx(1, abs=1e-6)
