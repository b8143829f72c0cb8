"""Texts equal transformers' token for token in float32, and likelihoods their definition."""

import itertools
from typing import Any

import pytest

from blip_serve.catalogue import EMBEDDED
from blip_serve.domain import Caption, GenerateItem, RankItem, ScoringProtocol
from blip_serve.models.answerer import Answerer
from blip_serve.models.captioner import Captioner
from tests.cuda.conftest import DEMO, Place
from tests.support.loading import load
from tests.support.reference import AnswerReference, CaptionReference
from tests.support.running import generated_ids, image_bytes, run, run_prepared, writing

IMAGES = [(EMBEDDED / "pictures" / name).read_bytes() for name in ("red-circle.png", "blue-square-green-star.png")]
PROMPTS = ["", "a photography of"]
QUESTIONS = ["what colour is the square?", "how many shapes are there?"]
ANSWERS = ["blue", "two", "a red circle"]
PROTOCOLS: list[ScoringProtocol] = ["hf", "paper"]
WAYS: list[dict[str, Any]] = [
    {},
    {"num_beams": 3},
    {"min_tokens": 8, "max_tokens": 12, "repetition_penalty": 1.3},
    {"num_beams": 3, "min_tokens": 8, "max_tokens": 12, "repetition_penalty": 1.3},
]
RELATIVE, ABSOLUTE = 1e-6, 1e-5
"""Of sums of some tokens' float32: the relative bound counts from -10 on."""


def reference_options(way: dict[str, Any]) -> dict[str, Any]:
    """In `generate`'s words."""
    return {
        "do_sample": False,
        "max_new_tokens": way.get("max_tokens", 20),
        "min_new_tokens": way.get("min_tokens", 0),
        "num_beams": way.get("num_beams", 1),
        "repetition_penalty": way.get("repetition_penalty", 1.0),
    }


def written(model: Captioner | Answerer, items: list[GenerateItem]) -> list[tuple[str, list[int]]]:
    """The texts and their tokens, in one mixed batch."""
    prepared = [model.prepare(item) for item in items]
    texts = [found[0].text for found in run_prepared(model, prepared)]
    return [(text, generated_ids(each)) for text, each in zip(texts, prepared, strict=True)]


def test_captions_equal_the_reference(place: Place) -> None:
    folder = place.checkpoint("captioning")
    reference = CaptionReference(folder)
    cases = place.some(list(itertools.product(IMAGES, PROMPTS, WAYS)))
    wanted = [reference.generate(image, prompt, **reference_options(way)) for image, prompt, way in cases]
    captioner = load(Captioner, folder, device=place.device)
    found = written(captioner, [writing(image, prompt, **way) for image, prompt, way in cases])
    assert found == [(texts[0], ids[0]) for ids, texts in wanted]


def test_answers_equal_the_reference(place: Place) -> None:
    folder = place.checkpoint("answering")
    reference = AnswerReference(folder)
    cases = place.some(list(itertools.product(IMAGES, QUESTIONS, PROTOCOLS, WAYS)))
    wanted = [
        reference.generate(image, question, protocol, **reference_options(way))
        for image, question, protocol, way in cases
    ]
    answerer = load(Answerer, folder, device=place.device)
    items = [writing(image, question, 1, protocol, **way) for image, question, protocol, way in cases]
    assert written(answerer, items) == [(texts[0], ids[0]) for ids, texts in wanted]


def test_likelihoods_equal_the_definition(place: Place) -> None:
    folder = place.checkpoint("answering", calm=True)
    reference = AnswerReference(folder)
    cases = list(itertools.product(IMAGES[1:], QUESTIONS, PROTOCOLS))
    wanted = [[reference.log_likelihood(*case[:2], answer, case[2]) for answer in ANSWERS] for case in cases]
    answers = tuple(Caption(answer, "answers") for answer in ANSWERS)
    items = [RankItem(image_bytes(image), Caption(asked, "q"), answers, protocol) for image, asked, protocol in cases]
    found = run(load(Answerer, folder, device=place.device), *items)
    assert found == [pytest.approx(likelihoods, rel=RELATIVE, abs=ABSOLUTE) for likelihoods in wanted]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_demo_writes_the_same_in_sixteen_bits(device: str, dtype: str) -> None:
    """Of its own pictures, where the next best word is far behind; greedy and by beams."""
    files = sorted((EMBEDDED / "pictures").glob("*.png"))
    pictures = [file.read_bytes() for file in (files if device == "cuda" else files[:2])]
    items = [writing(picture, num_beams=beams) for picture in pictures for beams in (1, 3)]
    exact, rounded = (
        written(load(Captioner, EMBEDDED / DEMO["captioning"], device=where, dtype=kind), items)
        for where, kind in (("cpu", "float32"), (device, dtype))
    )
    assert rounded == exact
