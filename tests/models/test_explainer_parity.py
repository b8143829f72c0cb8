"""Maps equal those of transformers' eager modules within 1e-4 of their maximum, singly and in one mixed batch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from blip_serve.catalogue import EMBEDDED, ModelCard
from blip_serve.domain import ExplainMethod, Layer, ScoringProtocol
from blip_serve.images.decode import Decoder
from blip_serve.models.answerer import Answerer
from blip_serve.models.attended import Attended, read_batches
from blip_serve.models.captioner import Captioner
from blip_serve.models.explain_works import ExplainWork
from blip_serve.models.matcher import Matcher
from blip_serve.models.text import TextTower
from blip_serve.models.text_batches import BatchedRows
from blip_serve.settings import LogSettings, Settings
from blip_serve.telemetry import Telemetry
from tests.support.checkpoints import SMALL_VQA, build
from tests.support.explain_reference import AnswerMaps, CaptionMaps, RetrievalMaps
from tests.support.explaining import difference, explaining, whole_difference
from tests.support.loading import load, load_matcher
from tests.support.pictures import encoded, picture
from tests.support.running import run, run_prepared

TOLERANCE = 1e-4
IMAGES = [encoded(picture(seed, *size)) for seed, size in enumerate([(96, 96), (200, 50), (31, 77)])]
CAPTIONS = [
    "a small red circle",
    'A Large Dog, sitting; on the "beach" (with a wo-man) ... and a man!',
    "Ein Café\u0301  im ΟΔΟΣ\t\u2013 İstanbul,犬と🐕猫",
    "cat",
    "two small green squares and the large blue one and a red one of the other two",
]
LONG = " ".join(["a small, dog and a large cat"] * 9)  # over 30 words: the paper cuts it
LAYERS: tuple[Layer, ...] = (0, 1, 2, "all")
METHODS: tuple[ExplainMethod, ...] = ("gradcam", "attention")
KINDS = ("demo", "small")
OF_WRITERS = ("small", pytest.param("demo", marks=pytest.mark.full))


@pytest.fixture(scope="module", params=KINDS)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "demo":
        return EMBEDDED / "demo-retrieval"
    return build(tmp_path_factory.mktemp("checkpoint"), seed=5)


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> RetrievalMaps:
    return RetrievalMaps(checkpoint)


@pytest.fixture(scope="module")
def matcher(checkpoint: Path) -> Matcher:
    return load_matcher(checkpoint)


def captions(protocol: ScoringProtocol) -> Sequence[str]:
    return [*CAPTIONS, LONG] if protocol == "paper" else CAPTIONS


@pytest.mark.parametrize("protocol", ["hf", "paper"])
@pytest.mark.parametrize("method", METHODS)
def test_the_maps_of_each_layer_equal_the_reference(
    matcher: Matcher, reference: RetrievalMaps, method: ExplainMethod, protocol: ScoringProtocol
) -> None:
    tokens = reference.tokens(IMAGES[0])
    expected = [reference.heats(tokens, caption, method, LAYERS, protocol) for caption in captions(protocol)]
    for layer, heats in zip(LAYERS, zip(*expected, strict=True), strict=True):
        [explained] = run(matcher, explaining(IMAGES[0], captions(protocol), method, layer, protocol))
        for found, heat in zip(explained, heats, strict=True):
            assert difference(found, heat) <= TOLERANCE
            assert found.itm_logits == pytest.approx(heat.logits, abs=1e-5)
            assert (found.method, found.layer) == (method, layer)


@pytest.mark.parametrize("layer", [0, "all"])
def test_the_maps_of_a_caption_alone_equal_the_reference(
    matcher: Matcher, reference: RetrievalMaps, layer: Layer
) -> None:
    """So few tokens of text are read without projecting the image: a gradient is that of the projected one."""
    for caption in CAPTIONS:
        [[found]] = run(matcher, explaining(IMAGES[0], [caption], "gradcam", layer))
        assert difference(found, reference.heat(IMAGES[0], caption, "gradcam", layer)) <= TOLERANCE


def test_the_maps_of_one_mixed_batch_equal_the_reference(matcher: Matcher, reference: RetrievalMaps) -> None:
    """Several images, protocols, methods and layers, and captions of all lengths: more than one batch of texts."""
    items = [
        explaining(IMAGES[0], CAPTIONS, "gradcam", 0),
        explaining(IMAGES[1], captions("paper")[::-1], "gradcam", 0, "paper"),
        explaining(IMAGES[2], CAPTIONS, "attention", "all"),
        explaining(IMAGES[0], CAPTIONS[1:3], "gradcam", "all", "paper"),
        explaining(IMAGES[2], CAPTIONS[:1], "gradcam", 0),
    ]
    for item, explained in zip(items, run(matcher, *items), strict=True):
        assert item.method is not None
        assert item.layer is not None
        tokens = reference.tokens(item.image.data)
        for caption, found in zip(item.captions, explained, strict=True):
            expected = reference.heat(tokens, caption.text, item.method, item.layer, item.protocol)
            assert difference(found, expected) <= TOLERANCE


def test_the_map_of_a_caption_is_the_mean_of_its_words(matcher: Matcher, reference: RetrievalMaps) -> None:
    [found] = run(matcher, explaining(IMAGES[1], CAPTIONS, "gradcam", 0, per="caption"))
    for caption, explanation in zip(CAPTIONS, found, strict=True):
        assert whole_difference(explanation, reference.heat(IMAGES[1], caption)) <= TOLERANCE
        assert [(word.word, word.start, word.end) for word in explanation.words] == [(caption, 0, len(caption))]


def test_maps_come_rounded(matcher: Matcher) -> None:
    """So that nothing has to round them on the event loop: that took a tenth of a second for a full answer."""
    [[found]] = run(matcher, explaining(IMAGES[0], CAPTIONS[:1], "gradcam", 0))
    numbers = [number for word in found.words for row in word.map for number in row]
    assert numbers == [round(number, 5) for number in numbers]
    assert max(numbers) == 1


@pytest.mark.parametrize(("known", "chosen"), [(None, 1), (2, 2), (6, 1), ("all", "all")])
def test_the_card_s_layer_is_the_default_if_the_checkpoint_has_it(known: Layer | None, chosen: Layer) -> None:
    settings = Settings(device="cpu", dtype="float32")
    card, telemetry = ModelCard("test", explain_layer=known), Telemetry(LogSettings(level="error"))
    matcher = Matcher.load(EMBEDDED / "demo-retrieval", card, settings, Decoder(settings.images), telemetry)
    [[found]] = run(matcher, explaining(IMAGES[0], CAPTIONS[:1]))
    assert found.layer == chosen


def test_the_last_layer_moves_the_logit_by_no_word(matcher: Matcher) -> None:
    """Only position 0 reaches the match head from there."""
    [[found]] = run(matcher, explaining(IMAGES[0], CAPTIONS[:1], "gradcam", 2))
    assert [word.maximum for word in found.words] == [0.0] * 4


def test_maps_of_a_model_served_in_bfloat16_are_those_of_its_image_tokens(
    checkpoint: Path, reference: RetrievalMaps
) -> None:
    matcher = load_matcher(checkpoint, dtype="bfloat16")
    prepared = matcher.prepare(explaining(IMAGES[0], CAPTIONS, "gradcam", 0, "paper"))
    [explained] = run_prepared(matcher, [prepared])
    work = prepared.works[0]
    assert isinstance(work, ExplainWork)
    assert work.image.tokens is not None
    assert work.image.tokens.dtype == torch.bfloat16
    for caption, found in zip(CAPTIONS, explained, strict=True):
        expected = reference.heat(work.image.tokens.float(), caption, "gradcam", 0, "paper")
        assert difference(found, expected) <= TOLERANCE


@pytest.mark.parametrize("kind", OF_WRITERS)
def test_the_maps_of_captions_equal_the_reference(kind: str, tmp_path: Path) -> None:
    folder = EMBEDDED / "demo-captioning" if kind == "demo" else build(tmp_path, kind="captioning", seed=5)
    captioner, reference = load(Captioner, folder), CaptionMaps(folder)
    for layer in LAYERS:
        [explained] = run(captioner, explaining(IMAGES[0], CAPTIONS, layer=layer))
        for caption, found in zip(CAPTIONS, explained, strict=True):
            assert difference(found, reference.heat(IMAGES[0], caption, layer)) <= TOLERANCE
            assert (found.method, found.itm_logits, found.itm_score) == ("attention", None, None)


@pytest.mark.parametrize("kind", OF_WRITERS)
def test_the_maps_of_answers_equal_the_reference(kind: str, tmp_path: Path) -> None:
    folder = EMBEDDED / "demo-vqa" if kind == "demo" else build(tmp_path, SMALL_VQA, kind="answering", seed=5)
    answerer, reference = load(Answerer, folder), AnswerMaps(folder)
    asked: list[tuple[Layer, ScoringProtocol, str]] = [
        *((layer, "hf", "What colour is (the) small circle?") for layer in LAYERS),
        (0, "paper", "What colour is (the) small circle?"),
        ("all", "paper", "how many?"),
    ]
    for layer, protocol, question in asked:
        item = explaining(IMAGES[0], CAPTIONS[:2], layer=layer, protocol=protocol, question=question)
        [explained] = run(answerer, item)
        for answer, found in zip(CAPTIONS, explained, strict=False):
            expected = reference.heat(IMAGES[0], question, answer, layer, protocol)
            assert difference(found, expected) <= TOLERANCE


def test_a_question_is_read_once_for_its_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """And answers of one step to other questions, about other images, are told apart."""
    folder = EMBEDDED / "demo-vqa"
    answerer, reference = load(Answerer, folder), AnswerMaps(folder)
    asked = [(IMAGES[0], "how many?"), (IMAGES[1], "how many?"), (IMAGES[0], "what colour is the circle?")]
    items = [explaining(image, CAPTIONS[::-1], layer=0, question=question) for image, question in asked]
    read: list[int] = []

    def counted(tower: TextTower, rows: BatchedRows, *given: Any, **more: Any) -> list[Attended]:
        read.append(len(rows.order))
        return read_batches(tower, rows, *given, **more)

    monkeypatch.setattr("blip_serve.models.readers.read_batches", counted)
    found = run(answerer, *items)
    assert sorted(read) == [1] * 3 + [len(CAPTIONS)] * 3
    for (image, question), explained in zip(asked, found, strict=True):
        for answer, each in zip(CAPTIONS[::-1], explained, strict=True):
            assert difference(each, reference.heat(image, question, answer, 0)) <= TOLERANCE
