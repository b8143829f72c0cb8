"""What bfloat16 and float16 do to the embedded checkpoint's scores, measured against float32; printed with `-s`."""

from random import Random

import pytest

from blip_serve.catalogue import EMBEDDED
from blip_serve.domain import GeneratedText, MatchItem, MatchScores
from blip_serve.models.captioner import Captioner
from blip_serve.models.device import Bfloat16
from demo.captions import plain_captions
from demo.drawing import Artist
from demo.world import World
from tests.support.loading import load, load_matcher
from tests.support.onednn import multiplying
from tests.support.pictures import encoded, picture
from tests.support.running import item, run, writing

CAPTIONS = ["a large red circle", "a small blue square and a green star", "two yellow rings", "a star"]
BOUNDS = {"bfloat16": (0.02, 0.01), "float16": (0.004, 0.002)}
"""Largest differences allowed in ITM probability and cosine; `api/README.md` states what was measured."""
LOGPROB_BOUNDS = {"bfloat16": 0.02, "float16": 0.004}
"""Of the tokens of captions: natural logarithms."""
WAYS = [("float16", Bfloat16.EMULATED), *(("bfloat16", by) for by in Bfloat16)]
DEMO = EMBEDDED / "demo-retrieval"

Scored = tuple[list[MatchItem], list[list[MatchScores]]]


def in_float32(items: list[MatchItem]) -> Scored:
    return items, run(load_matcher(DEMO), *items)


def in_sixteen_bits(items: list[MatchItem], dtype: str, by: Bfloat16) -> list[list[MatchScores]]:
    with multiplying(by):
        return run(load_matcher(DEMO, dtype=dtype), *items)


@pytest.fixture(scope="module")
def pairs() -> Scored:
    shipped = [file.read_bytes() for file in sorted((EMBEDDED / "pictures").glob("*.png"))]
    return in_float32([item(data, CAPTIONS) for data in [*shipped, *(encoded(picture(seed)) for seed in range(10))]])


@pytest.fixture(scope="module")
def drawn() -> Scored:
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
    return in_float32(items)


def captions(dtype: str) -> list[GeneratedText]:
    items = [writing(file.read_bytes(), top_logprobs=1) for file in sorted((EMBEDDED / "pictures").glob("*.png"))]
    return [texts[0] for texts in run(load(Captioner, EMBEDDED / "demo-captioning", dtype=dtype), *items)]


@pytest.fixture(scope="module")
def written() -> list[GeneratedText]:
    return captions("float32")


@pytest.mark.parametrize(("dtype", "by"), WAYS)
def test_sixteen_bits_stay_within_the_documented_tolerance(pairs: Scored, dtype: str, by: Bfloat16) -> None:
    items, scores = pairs
    exact = [score for each in scores for score in each]
    found = [score for each in in_sixteen_bits(items, dtype, by) for score in each]
    itm = max(abs((a.itm_score or 0) - (b.itm_score or 0)) for a, b in zip(exact, found, strict=True))
    cosine = max(abs((a.cosine_score or 0) - (b.cosine_score or 0)) for a, b in zip(exact, found, strict=True))
    print(f"{dtype} by {by.value}: ITM probability within {itm:.4f}, cosine within {cosine:.4f}, {len(exact)} pairs")
    assert itm <= BOUNDS[dtype][0]
    assert cosine <= BOUNDS[dtype][1]


@pytest.mark.parametrize(("dtype", "by"), WAYS)
def test_sixteen_bits_rank_as_float32_does(drawn: Scored, dtype: str, by: Bfloat16) -> None:
    items, exact = drawn
    found = in_sixteen_bits(items, dtype, by)
    for name in ("itm_score", "cosine_score"):
        same = sum(_best(a, name) == _best(b, name) for a, b in zip(exact, found, strict=True))
        print(f"{dtype} by {by.value}: the same caption of 4 is first by {name} for {same} of {len(items)} pictures")
        assert same >= 0.94 * len(items)


@pytest.mark.parametrize(("dtype", "by"), WAYS)
def test_sixteen_bits_write_what_float32_does(written: list[GeneratedText], dtype: str, by: Bfloat16) -> None:
    with multiplying(by):
        found = captions(dtype)
    assert [text.text for text in found] == [text.text for text in written]
    worst = max(
        abs(a.logprob - b.logprob)
        for one, other in zip(found, written, strict=True)
        for a, b in zip(one.logprobs or (), other.logprobs or (), strict=True)
    )
    print(f"{dtype} by {by.value}: log-probabilities within {worst:.4f}")
    assert 0 < worst <= LOGPROB_BOUNDS[dtype]


def _best(scores: list[MatchScores], name: str) -> int:
    return max(range(len(scores)), key=lambda place: getattr(scores[place], name))
