"""Captions and answers at full base and large size equal those of transformers, token for token, in float32."""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from blip_serve.domain import Caption, RankItem, ScoringProtocol
from blip_serve.models.answerer import Answerer
from blip_serve.models.captioner import Captioner
from tests.support.checkpoints import BASE, LARGE, Layout, Size, build
from tests.support.loading import load
from tests.support.pictures import encoded, picture
from tests.support.reference import AnswerReference, CaptionReference
from tests.support.rounding import furthest
from tests.support.running import generated_ids, image_bytes, run, run_prepared, writing

pytestmark = [pytest.mark.full, pytest.mark.timeout(1800)]

IMAGES = [encoded(picture(1, 640, 480), "jpeg"), encoded(picture(2, 120, 500))]
PROMPTS = ["", "a photography of"]
WAYS: list[dict[str, Any]] = [
    {},
    {"num_beams": 3},
    {"min_tokens": 8, "max_tokens": 12, "repetition_penalty": 1.3},
    {"num_beams": 3, "min_tokens": 8, "max_tokens": 12, "repetition_penalty": 1.3},
]
KINDS: dict[str, tuple[Size, int, bool, Layout]] = {
    "base safetensors 2022": (BASE, 4, False, "2022"),
    "large bin transformers 5": (LARGE, 3, True, "transformers 5"),
}
QUESTIONS = ["how many dogs are in the picture?", 'What is the "woman" doing on the beach (at night)?']
ANSWERS = ["2", "sitting", "holding a red umbrella"]
PROTOCOLS: list[ScoringProtocol] = ["hf", "paper"]


def reference_options(way: dict[str, Any]) -> dict[str, Any]:
    return {
        "do_sample": False,
        "max_new_tokens": way.get("max_tokens", 20),
        "min_new_tokens": way.get("min_tokens", 0),
        "num_beams": way.get("num_beams", 1),
        "repetition_penalty": way.get("repetition_penalty", 1.0),
    }


@pytest.fixture(scope="module", params=KINDS)
def captioning(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    size, seed, pickled, layout = KINDS[request.param]
    folder = tmp_path_factory.mktemp("full")
    yield build(folder, size, kind="captioning", seed=seed, pickled=pickled, layout=layout)
    shutil.rmtree(folder)


def test_captions_equal_the_reference_singly_and_in_one_mixed_batch(captioning: Path) -> None:
    captioner, reference = load(Captioner, captioning), CaptionReference(captioning)
    cases = list(itertools.product(IMAGES, PROMPTS, WAYS))
    wanted = [reference.generate(image, prompt, **reference_options(way)) for image, prompt, way in cases]
    del reference
    expected = [(texts[0], ids[0]) for ids, texts in wanted]
    items = [writing(image, prompt, **way) for image, prompt, way in cases]
    prepared = [captioner.prepare(item) for item in items]
    together = run_prepared(captioner, prepared)
    assert [(texts[0].text, generated_ids(each)) for texts, each in zip(together, prepared, strict=True)] == expected
    assert [run(captioner, item)[0] for item in items] == together
    lengths = [len(ids) for _, ids in expected]
    print(f"\n{len(cases)} captions of {lengths} tokens are equal")
    assert len(set(lengths)) > 3


def test_answers_equal_the_reference_in_one_mixed_batch(tmp_path: Path) -> None:
    folder = build(tmp_path / "full", BASE, kind="answering", seed=3)
    answerer, reference = load(Answerer, folder), AnswerReference(folder)
    cases = [(*case, way) for case in itertools.product(IMAGES, QUESTIONS, PROTOCOLS) for way in WAYS]
    wanted = [
        reference.generate(image, question, protocol, **reference_options(way))
        for image, question, protocol, way in cases
    ]
    items = [writing(image, question, 1, protocol, **way) for image, question, protocol, way in cases]
    prepared = [answerer.prepare(item) for item in items]
    together = run_prepared(answerer, prepared)
    found = [(texts[0].text, generated_ids(each)) for texts, each in zip(together, prepared, strict=True)]
    assert found == [(texts[0], ids[0]) for ids, texts in wanted]
    lengths = [len(ids[0]) for ids, _ in wanted]
    print(f"\n{len(cases)} answers of {lengths} tokens are equal")
    assert len(set(lengths)) > 3
    shutil.rmtree(folder)


def test_likelihoods_equal_the_definition_in_one_mixed_batch(tmp_path: Path) -> None:
    folder = build(tmp_path / "full", BASE, kind="answering", seed=3, calm=True)
    answerer, reference = load(Answerer, folder), AnswerReference(folder, torch.float64)
    answers = tuple(Caption(answer, "answers") for answer in ANSWERS)
    cases = list(itertools.product(IMAGES, QUESTIONS, PROTOCOLS))
    items = [RankItem(image_bytes(image), Caption(asked, "q"), answers, protocol) for image, asked, protocol in cases]
    found = [score for scores in run(answerer, *items) for score in scores]
    wanted = [
        reference.log_likelihood(image, asked, answer, protocol)
        for image, asked, protocol in cases
        for answer in ANSWERS
    ]
    worst = furthest(found, wanted, [reference.terms(answer) for _ in cases for answer in ANSWERS])
    print(f"\n{len(wanted)} likelihoods within {worst:.2f} of what is allowed")
    assert worst <= 1
    shutil.rmtree(folder)
