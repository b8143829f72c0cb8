"""Captions equal those of transformers' `generate` token for token in float32, singly and in one mixed batch."""

from pathlib import Path
from typing import Any

import pytest

from blip_serve.domain import GeneratedText, GenerateItem
from blip_serve.models.captioner import Captioner
from tests.support.checkpoints import build
from tests.support.loading import load
from tests.support.pictures import encoded, picture
from tests.support.reference import CaptionReference
from tests.support.running import generated_ids, run_prepared, writing

IMAGES = [encoded(picture(seed, *size)) for seed, size in enumerate([(96, 96), (200, 50), (31, 77)])]
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


@pytest.fixture(scope="module", params=["2022 safetensors", "2022 bin", "transformers 5 safetensors"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    layout, _, kind = request.param.rpartition(" ")
    folder = tmp_path_factory.mktemp("checkpoint")
    return build(folder, kind="captioning", seed=7, pickled=kind == "bin", layout=layout)


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> CaptionReference:
    return CaptionReference(checkpoint)


@pytest.fixture(scope="module")
def captioner(checkpoint: Path) -> Captioner:
    return load(Captioner, checkpoint, engine={"max_sequences": 256})


def expected(reference: CaptionReference, image: bytes, prompt: str, way: dict[str, Any]) -> tuple[str, list[int]]:
    """The text, and the ids behind the prompt."""
    ids, texts = reference.generate(
        image,
        prompt,
        do_sample=False,
        max_new_tokens=way.get("max_tokens", 20),
        min_new_tokens=way.get("min_tokens", 0),
        num_beams=way.get("num_beams", 1),
        repetition_penalty=way.get("repetition_penalty", 1.0),
    )
    return texts[0], ids[0]


def told(captioner: Captioner, *items: GenerateItem) -> list[tuple[str, list[int]]]:
    prepared = [captioner.prepare(item) for item in items]
    results: list[list[GeneratedText]] = run_prepared(captioner, prepared)
    ids = [generated_ids(each) for each in prepared]
    assert [texts[0].tokens for texts in results] == list(map(len, ids))
    return [(texts[0].text, found) for texts, found in zip(results, ids, strict=True)]


@pytest.mark.parametrize("way", WAYS)
def test_captions_equal_the_reference_singly(captioner: Captioner, reference: CaptionReference, way: str) -> None:
    for image in IMAGES:
        for prompt in PROMPTS:
            assert told(captioner, writing(image, prompt, **WAYS[way])) == [
                expected(reference, image, prompt, WAYS[way])
            ]


def test_captions_equal_the_reference_in_one_mixed_batch(captioner: Captioner, reference: CaptionReference) -> None:
    cases = [(image, prompt, way) for image in IMAGES for prompt in PROMPTS for way in WAYS.values()]
    found = told(captioner, *(writing(image, prompt, **way) for image, prompt, way in cases))
    assert found == [expected(reference, *case) for case in cases]
    assert len({len(ids) for _, ids in found}) > 4  # texts that end by themselves, early and late
