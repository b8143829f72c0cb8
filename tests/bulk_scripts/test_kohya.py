"""The comparison with kohya's script: how it judges, and that both sides write the same."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.pictures import Pictures
from bulk.kohya import Captioned, Comparison, Ours, Side, Theirs, lines
from tests.support.checkpoints import SMALL, build

TEXTS = [Captioned("one dog", 3), Captioned("the beach", 3)]
MET = Comparison(3, theirs=Side(TEXTS, 10.0), exact=Side(TEXTS, 5.0), fast=Side(TEXTS, 1.0))


def test_it_is_met_by_the_same_captions_and_enough_speed() -> None:
    assert MET.met(1.8)
    assert replace(MET, fast=None).met(1.8)


@pytest.mark.parametrize(
    "failed",
    [
        replace(MET, exact=Side(TEXTS, 6.0)),
        replace(MET, fast=Side(TEXTS, 3.0)),
        replace(MET, exact=Side([TEXTS[0], Captioned("the beach", 4)], 1.0)),
        replace(MET, exact=Side([TEXTS[1], TEXTS[0]], 1.0)),
    ],
)
def test_it_is_not_met_if_one_is_slow_or_a_caption_differs(failed: Comparison) -> None:
    assert not failed.met(1.8)


def test_captions_in_bfloat16_may_differ_and_are_counted() -> None:
    found = replace(MET, fast=Side([TEXTS[0], Captioned("a cat", 3)], 1.0))
    assert found.met(1.8)
    assert "1 of 2" in list(lines(found, 1.8))[-1]


def test_a_caption_that_differs_is_printed() -> None:
    found = replace(MET, exact=Side([TEXTS[0], Captioned("the beach", 4)], 1.0))
    [told] = list(lines(found, 1.8))[5:]
    assert told.startswith("picture 1: ")


@pytest.mark.parametrize("beams", [1, 3])
def test_both_sides_write_the_same_captions(tmp_path: Path, beams: int) -> None:
    size = replace(SMALL, text=SMALL.text | {"max_position_embeddings": 96})
    size = replace(size, vision=size.vision | {"image_size": 384, "patch_size": 48})
    folder = build(tmp_path, size, kind="captioning", words=["picture"])
    pictures = Pictures().take(4)
    ours = Ours(folder, "float32", window=4)
    try:
        assert ours.captions(pictures, beams) == Theirs(folder, "float32").captions(pictures, beams)
    finally:
        ours.close()
