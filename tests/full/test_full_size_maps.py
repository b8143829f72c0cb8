"""Maps at base size equal transformers' eager modules', with random weights."""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from blip_serve.domain import ExplainMethod, Layer, ScoringProtocol
from blip_serve.models.answerer import Answerer
from blip_serve.models.captioner import Captioner
from blip_serve.models.explain_works import ExplainWork
from tests.support.checkpoints import BASE, build
from tests.support.explain_reference import AnswerMaps, CaptionMaps, RetrievalMaps
from tests.support.explaining import difference, explaining
from tests.support.loading import load, load_matcher
from tests.support.pictures import encoded, picture
from tests.support.running import run, run_prepared

pytestmark = [pytest.mark.full, pytest.mark.timeout(1800)]

TOLERANCE = 1e-4
IMAGES = [encoded(picture(1, 640, 480), "jpeg"), encoded(picture(2, 120, 500))]
CAPTIONS = [
    "A woman and her dog sitting in a beach.",
    "two cats",
    "a photograph of (at least) three people; one of them holding a red umbrella, on a street at night!",
]
LAYERS: tuple[Layer, ...] = (0, 6, 11, "all")
FEW: tuple[Layer, ...] = (6, "all")
PROTOCOLS: tuple[ScoringProtocol, ...] = ("hf", "paper")
WAYS: tuple[tuple[ScoringProtocol, ExplainMethod], ...] = (
    ("hf", "gradcam"),
    ("paper", "gradcam"),
    ("paper", "attention"),
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("full")
    yield build(folder, BASE, seed=3)
    shutil.rmtree(folder)


def test_maps_of_one_mixed_batch_equal_the_reference(checkpoint: Path) -> None:
    """Of the image tokens that were served. `tests/models/test_explainer_parity.py` does it in bfloat16 too."""
    matcher, reference = load_matcher(checkpoint), RetrievalMaps(checkpoint)
    ways = [(*way, layer) for way in WAYS for layer in LAYERS]
    prepared = {
        (image, *way): matcher.prepare(explaining(image, CAPTIONS, way[1], way[2], way[0]))
        for image in IMAGES
        for way in ways
    }
    found = dict(zip(prepared, run_prepared(matcher, list(prepared.values())), strict=True))
    worst = 0.0
    for image, (protocol, method) in itertools.product(IMAGES, WAYS):
        work = prepared[image, protocol, method, 0].works[0]
        assert isinstance(work, ExplainWork)
        assert work.image.tokens is not None
        for number, caption in enumerate(CAPTIONS):
            expected = reference.heats(work.image.tokens.float(), caption, method, LAYERS, protocol)
            for layer, heat in zip(LAYERS, expected, strict=True):
                worst = max(worst, difference(found[image, protocol, method, layer][number], heat))
    print(f"\n{checkpoint.name}: maps within {worst:.1e} of their maximum")
    assert worst <= TOLERANCE


def test_maps_of_an_image_s_bytes_equal_the_reference(checkpoint: Path) -> None:
    matcher, reference = load_matcher(checkpoint), RetrievalMaps(checkpoint)
    [[found]] = run(matcher, explaining(IMAGES[0], CAPTIONS[:1], "gradcam", 6))
    assert difference(found, reference.heat(IMAGES[0], CAPTIONS[0], "gradcam", 6)) <= TOLERANCE


def test_maps_of_captions_equal_the_reference(tmp_path: Path) -> None:
    folder = build(tmp_path, BASE, kind="captioning", seed=3)
    captioner, reference = load(Captioner, folder), CaptionMaps(folder)
    for layer in FEW:
        [explained] = run(captioner, explaining(IMAGES[0], CAPTIONS[:2], layer=layer))
        for caption, found in zip(CAPTIONS, explained, strict=False):
            assert difference(found, reference.heat(IMAGES[0], caption, layer)) <= TOLERANCE


def test_maps_of_answers_equal_the_reference(tmp_path: Path) -> None:
    folder = build(tmp_path, BASE, kind="answering", seed=3)
    answerer, reference = load(Answerer, folder), AnswerMaps(folder)
    for layer, protocol in itertools.product(FEW, PROTOCOLS):
        item = explaining(IMAGES[0], ["two cats"], layer=layer, protocol=protocol, question="How many (big) dogs?")
        [[found]] = run(answerer, item)
        expected = reference.heat(IMAGES[0], "How many (big) dogs?", "two cats", layer, protocol)
        assert difference(found, expected) <= TOLERANCE
