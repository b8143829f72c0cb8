"""A checkpoint's preprocessing is read from the file that transformers reads it from."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoProcessor

from blip_serve.errors import CheckpointError
from blip_serve.models.processing import read_pixel_format
from tests.support.checkpoints import SMALL, build
from tests.support.loading import load_matcher
from tests.support.pictures import encoded, picture
from tests.support.reference import Reference, pixels_of
from tests.support.running import item, run

SIDE = SMALL.vision["image_size"]
HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
FIFTH = {"image_mean": [0.2] * 3, "image_std": [0.2] * 3}
NAMED = {"processor_class": "BlipProcessor"}
IMAGE = encoded(picture(4, 96, 60))

OLD, NEW = "preprocessor_config.json", "processor_config.json"
KIND = {"image_processor_type": "BlipImageProcessor", "size": {"height": SIDE, "width": SIDE}}
LAYOUTS: dict[str, tuple[dict[str, Any], tuple[float, ...]]] = {
    "old alone": ({OLD: KIND | HALF}, (0.5,) * 3),
    "new without preprocessing beside old": ({OLD: KIND | HALF, NEW: NAMED}, (0.5,) * 3),
    "new of nothing beside old": ({OLD: KIND | HALF, NEW: NAMED | {"image_processor": None}}, (0.5,) * 3),
    "new beside old": ({OLD: KIND | HALF, NEW: NAMED | {"image_processor": KIND | FIFTH}}, (0.2,) * 3),
    "new alone": ({NEW: NAMED | {"image_processor": KIND | FIFTH}}, (0.2,) * 3),
}  # fmt: skip


@pytest.mark.parametrize(("files", "mean"), LAYOUTS.values(), ids=LAYOUTS)
def test_pixels_and_scores_are_those_of_transformers(
    tmp_path: Path, files: dict[str, Any], mean: tuple[float, ...]
) -> None:
    folder = build(tmp_path, seed=5)
    (folder / OLD).unlink()
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    found = read_pixel_format(folder, SIDE)
    assert (found.mean, found.std) == (mean, mean)
    reference = Reference(folder)
    auto: Any = AutoProcessor  # untyped
    assert torch.equal(pixels_of(auto.from_pretrained(folder), IMAGE), reference.words.pixels(IMAGE))
    [[score]] = run(load_matcher(folder), item(IMAGE, ["a red dog"]))
    logits, cosine = reference.score(IMAGE, "a red dog")
    assert score.itm_logits == pytest.approx(logits, abs=1e-5)
    assert score.cosine_score == pytest.approx(cosine, abs=1e-5)


def test_a_file_without_preprocessing_alone_is_refused_as_transformers_refuses_it(tmp_path: Path) -> None:
    folder = build(tmp_path)
    (folder / OLD).unlink()
    (folder / NEW).write_text(json.dumps(NAMED | HALF))
    with pytest.raises(OSError, match="image processor"):
        Reference(folder)
    with pytest.raises(CheckpointError, match=rf"{OLD}: No such file"):
        read_pixel_format(folder, SIDE)
