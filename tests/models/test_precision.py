"""What bfloat16 and float16 do to the embedded checkpoint's scores, measured against float32; printed with `-s`."""

import pytest

from blip_serve.catalogue import EMBEDDED
from tests.support.loading import load_matcher
from tests.support.pictures import encoded, picture
from tests.support.running import item, run

CAPTIONS = ["a large red circle", "a small blue square and a green star", "two yellow rings", "a star"]
BOUNDS = {"bfloat16": (0.02, 0.01), "float16": (0.004, 0.002)}
"""Largest differences allowed in ITM probability and cosine; the README states what was measured."""


@pytest.mark.parametrize("dtype", BOUNDS)
def test_sixteen_bits_stay_within_the_documented_tolerance(dtype: str) -> None:
    folder = EMBEDDED / "demo-retrieval"
    shipped = [file.read_bytes() for file in sorted((EMBEDDED / "pictures").glob("*.png"))]
    items = [item(data, CAPTIONS) for data in [*shipped, *(encoded(picture(seed)) for seed in range(10))]]
    exact = [score for scores in run(load_matcher(folder), *items) for score in scores]
    found = [score for scores in run(load_matcher(folder, dtype=dtype), *items) for score in scores]
    itm = max(abs((a.itm_score or 0) - (b.itm_score or 0)) for a, b in zip(exact, found, strict=True))
    cosine = max(abs((a.cosine_score or 0) - (b.cosine_score or 0)) for a, b in zip(exact, found, strict=True))
    print(f"{dtype}: ITM probability within {itm:.4f}, cosine within {cosine:.4f} of float32, {len(exact)} pairs")
    assert itm <= BOUNDS[dtype][0]
    assert cosine <= BOUNDS[dtype][1]
