"""Captions equal those of transformers' `generate` token for token in float32, singly and in one mixed batch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from blip_serve.catalogue import EMBEDDED
from blip_serve.domain import Caption, GeneratedText, GenerateItem, RankItem
from blip_serve.errors import InvalidInput
from blip_serve.models.captioner import Captioner
from tests.support.checkpoints import build
from tests.support.loading import load
from tests.support.pictures import encoded, picture
from tests.support.reference import CaptionReference
from tests.support.rounding import furthest
from tests.support.running import generated_ids, image_bytes, run, run_prepared, writing

PICTURES = EMBEDDED / "pictures"
IMAGES = [
    encoded(picture(0, 96, 96)),
    encoded(picture(1, 200, 50)),
    *((PICTURES / name).read_bytes() for name in ("blue-square-green-star.png", "two-purple-squares.png")),
]
PROMPTS = ["", "a photo of", "a small dog and a large cat sitting on the beach with"]
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "3 beams": {"num_beams": 3},
    "short": {"max_tokens": 3},
    "min length": {"min_tokens": 9, "max_tokens": 14},
    "penalty": {"repetition_penalty": 1.7},
    "3 beams, short": {"num_beams": 3, "max_tokens": 4},
    "3 beams, min length": {"num_beams": 3, "min_tokens": 6, "max_tokens": 12},
    "3 beams, penalty": {"num_beams": 3, "repetition_penalty": 1.7},
}

Case = tuple[int, str, str]
Written = dict[Case, tuple[str, list[int]]]
"""The text, and the ids behind the prompt."""
CASES: list[Case] = [(image, prompt, way) for image in range(len(IMAGES)) for prompt in PROMPTS for way in WAYS]


@pytest.fixture(scope="module", params=["demo", "2022 safetensors", "2022 bin", "transformers 5 safetensors"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "demo":
        return EMBEDDED / "demo-captioning"
    layout, _, kind = request.param.rpartition(" ")
    folder = tmp_path_factory.mktemp("checkpoint")
    return build(folder, kind="captioning", seed=7, pickled=kind == "bin", layout=layout)


@pytest.fixture(scope="module")
def written() -> dict[bool, Written]:
    """What transformers wrote, by whether the weights are the demo's; the others are the same in every format."""
    return {}


@pytest.fixture(scope="module")
def wanted(checkpoint: Path, written: dict[bool, Written]) -> Written:
    demo = checkpoint.parent == EMBEDDED
    if demo not in written:
        written[demo] = by_transformers(CaptionReference(checkpoint))
    return written[demo]


def by_transformers(reference: CaptionReference) -> Written:
    """One item at a time."""
    found = {}
    for image, prompt, way in CASES:
        options = WAYS[way]
        ids, texts = reference.generate(
            IMAGES[image],
            prompt,
            do_sample=False,
            max_new_tokens=options.get("max_tokens", 20),
            min_new_tokens=options.get("min_tokens", 0),
            num_beams=options.get("num_beams", 1),
            repetition_penalty=options.get("repetition_penalty", 1.0),
        )
        found[image, prompt, way] = (texts[0], ids[0])
    return found


@pytest.fixture(scope="module")
def captioner(checkpoint: Path) -> Captioner:
    return load(Captioner, checkpoint, engine={"max_sequences": 256})


def told(captioner: Captioner, *items: GenerateItem) -> list[tuple[str, list[int]]]:
    prepared = [captioner.prepare(item) for item in items]
    results: list[list[GeneratedText]] = run_prepared(captioner, prepared)
    ids = [generated_ids(each) for each in prepared]
    assert [texts[0].tokens for texts in results] == list(map(len, ids))
    return [(texts[0].text, found) for texts, found in zip(results, ids, strict=True)]


def test_captions_equal_the_reference_singly(captioner: Captioner, wanted: Written) -> None:
    for (image, prompt, way), expected in wanted.items():
        assert told(captioner, writing(IMAGES[image], prompt, **WAYS[way])) == [expected]


def test_captions_equal_the_reference_in_one_mixed_batch(captioner: Captioner, wanted: Written) -> None:
    found = told(captioner, *(writing(IMAGES[image], prompt, **WAYS[way]) for image, prompt, way in wanted))
    assert found == list(wanted.values())
    assert len({len(ids) for _, ids in found}) > 4  # texts that end by themselves, early and late


GIVEN = ["dog", "a small cat on the beach", "photo", "two dogs and a woman sitting"]


def likelihood(reference: CaptionReference, image: bytes, prompt: str, caption: str) -> float:
    """The summed log-softmax of the caption's tokens and the end, behind the prompt."""
    tokenizer, config = reference.words.tokenizer, reference.model.config.text_config
    words = [tokenizer(text)["input_ids"][1:-1] for text in (prompt, caption)]
    asked = [*words[1], config.sep_token_id]
    found = reference.logprobs(image, words[0], asked)
    return float(found.gather(1, torch.tensor(asked)[:, None]).double().sum())


def test_likelihoods_of_given_captions_equal_the_reference_singly_and_together(tmp_path: Path) -> None:
    folder = build(tmp_path, kind="captioning", seed=3, calm=True)
    captioner, reference = (
        load(Captioner, folder, images={"cache_tokens_bytes": 0}),
        CaptionReference(folder, torch.float64),
    )
    terms = [len(reference.words.tokenizer(caption)["input_ids"]) - 1 for caption in GIVEN]
    cases = [(image, prompt) for image in IMAGES for prompt in PROMPTS]
    wanted = [[likelihood(reference, *case, caption) for caption in GIVEN] for case in cases]

    def ranking(image: bytes, prompt: str, captions: Sequence[str]) -> RankItem:
        return RankItem(image_bytes(image), Caption(prompt, "text"), tuple(Caption(each, "given") for each in captions))

    for case, expected in zip(cases, wanted, strict=True):
        singly = [run(captioner, ranking(*case, [caption]))[0][0] for caption in GIVEN]
        assert furthest(singly, expected, terms) <= 1
    items = [ranking(*case, GIVEN) for case in cases]
    *together, written = run(captioner, *items, writing(IMAGES[0], "a photo of"))
    for found, expected in zip(together, wanted, strict=True):
        assert furthest(found, expected, terms) <= 1
    assert written == run(captioner, writing(IMAGES[0], "a photo of"))[0]
    assert len({round(score, 3) for scores in wanted for score in scores}) > len(cases)


def test_many_given_captions_are_cut_into_works_that_encode_the_image_once(tmp_path: Path) -> None:
    captioner = load(Captioner, build(tmp_path, kind="captioning"), images={"cache_tokens_bytes": 0})
    encodings: list[int] = []
    captioner.network.vision_model.register_forward_hook(lambda _, inputs, __: encodings.append(len(inputs[0])))
    texts = tuple(Caption(f"a dog {'on ' * (i % 20)}{i}", "given") for i in range(200))
    prepared = captioner.prepare(RankItem(image_bytes(IMAGES[0]), Caption("", "text"), texts))
    assert len(prepared.works) > 2
    assert len(run_prepared(captioner, [prepared])[0]) == 200
    assert encodings == [1]


def test_a_given_caption_that_does_not_fit_behind_its_beginning_is_refused(captioner: Captioner) -> None:
    long = "a " * (captioner._tokenizer.positions // 2)
    item = RankItem(
        image_bytes(IMAGES[0]), Caption(long, "text"), (Caption("a", "given[0]"), Caption(long, "given[1]"))
    )
    with pytest.raises(InvalidInput) as refused:
        captioner.prepare(item)
    assert (refused.value.code, refused.value.param) == ("input_too_long", "given[1]")
