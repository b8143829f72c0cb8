"""What bfloat16 and float16 do to the embedded checkpoint's scores, measured against float32; printed with `-s`."""

from random import Random

import pytest

from blip_serve.catalogue import EMBEDDED
from blip_serve.domain import PairScore
from demo.captions import plain_captions
from demo.drawing import Artist
from demo.world import World
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


@pytest.mark.parametrize("dtype", BOUNDS)
def test_sixteen_bits_rank_as_float32_does(dtype: str) -> None:
    """50 drawn pictures, each with its caption and three of scenes that differ from it in one thing: 200 pairs."""
    rng = Random(0)
    world, artist = World(rng), Artist(rng)
    items = []
    for _ in range(50):
        scene = world.scene()
        captions = {" ".join(plain_captions(scene)[0])}
        while len(captions) < 4:
            captions.add(" ".join(plain_captions(world.sibling(scene))[0]))
        items.append(item(encoded(artist.picture(scene)), sorted(captions)))
    exact = run(load_matcher(EMBEDDED / "demo-retrieval"), *items)
    found = run(load_matcher(EMBEDDED / "demo-retrieval", dtype=dtype), *items)
    for name in ("itm_score", "cosine_score"):
        same = sum(_best(a, name) == _best(b, name) for a, b in zip(exact, found, strict=True))
        print(f"{dtype}: the same caption of 4 is first by {name} for {same} of {len(items)} pictures")
        assert same >= 0.94 * len(items)


def _best(scores: list[PairScore], name: str) -> int:
    return max(range(len(scores)), key=lambda place: getattr(scores[place], name))
