"""How maps are judged: the pointing game, and whether hot cells matter."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from demo.answering.task import ANSWERING
from demo.captioning.task import CAPTIONING
from demo.drawing import SIDE
from demo.explaining import best_layer
from demo.pointing import Box, Hits, Named, Tally, rounds, strongest, wilson
from demo.retrieval.task import RETRIEVAL
from demo.world import ATTRIBUTES, Scene, Thing
from explain.faithful import Falls, greyed, hottest
from explain.pointing import ASKED, met

BOX = Box(60, 0, 96, 12)
RED = Named("colour", BOX, Box(84, 0, 96, 12))


def grid(row: int, column: int) -> list[list[float]]:
    """8 x 8, with 1 at one cell."""
    return [[float((row, column) == (y, x)) for x in range(8)] for y in range(8)]


def test_the_strongest_place_is_the_middle_of_a_cell() -> None:
    assert strongest(grid(0, 7)) == (90.0, 6.0)
    assert strongest([[0.0, 0.0], [0.5, 0.0]]) == (24.0, 72.0)
    assert strongest([[0.0] * 8] * 8) is None


def test_hits_count_by_the_kind_of_word_and_others_do_not() -> None:
    tally = Tally()
    named = {"red": RED, "small": replace(RED, kind="size"), "star": replace(RED, kind="shape")}
    maps = [("red", grid(0, 7)), ("red", grid(0, 5)), ("red", grid(1, 7)), ("and", grid(0, 7))]
    tally.count([*maps, ("small", [[0.0] * 8] * 8), ("star", grid(0, 7))], named)
    found = tally.hits()
    assert found["colour"] == Hits(3, 2, 1, 36 * 12 / SIDE**2)
    assert (found["size"].hits, found["shape"].hits) == (0, 1)


def test_the_interval_is_wilson_s() -> None:
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe (1998), table I
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)


def test_a_target_is_met_by_the_lower_bound() -> None:
    enough = dict.fromkeys(ASKED, Hits(1000, 950, 0, 0.1))
    assert met(enough)
    assert not met(enough | {"colour": Hits(1000, 930, 0, 0.1)})


def test_the_best_layer_is_that_whose_worst_kind_of_word_is_best() -> None:
    def kinds(*hits: int) -> dict[str, Hits]:
        return {kind: Hits(10, count, 0, 0.1) for kind, count in zip(ATTRIBUTES, hits, strict=True)}

    game = {("gradcam", 0): kinds(8, 8, 8), ("gradcam", "all"): kinds(10, 10, 7), ("attention", 1): kinds(9, 9, 9)}
    assert best_layer(game, "gradcam") == 0  # type: ignore[arg-type]  # literals in a dict are plain strings


def test_rounds_are_the_same_again_and_each_word_names_one_thing() -> None:
    first, *others = rounds(20, RETRIEVAL.tell)
    assert first == next(rounds(1, RETRIEVAL.tell))
    for each in (first, *others):
        [told] = each.told
        assert sorted(word for word in told.words if word in each.named) == sorted(each.named)
        assert len(each.named) == 2 * len(ATTRIBUTES)
        for named in each.named.values():
            assert min(named.box.left, named.box.top, named.drawn.left, named.drawn.top) >= 0
            assert max(named.box.right, named.box.bottom, named.drawn.right, named.drawn.bottom) <= SIDE
            assert abs((named.box.left + named.box.right) - (named.drawn.left + named.drawn.right)) < 12
            assert named.drawn.share < 1.05 * named.box.share


def test_what_is_told_names_the_things() -> None:
    scene = Scene((Thing("large", "red", "circle"), Thing("small", "blue", "cross")))
    assert CAPTIONING.tell(scene, Random(0))[0].text == "a large red circle and a small blue cross"
    told = ANSWERING.tell(scene, Random(0))
    assert [each.question is not None for each in told] == [True] * 3
    assert [scene.things[0].value(kind) in each.words or scene.things[1].value(kind) in each.words
            for kind, each in zip(ATTRIBUTES, told, strict=True)] == [True] * 3  # fmt: skip


def test_the_hottest_cells_are_grayed_and_no_others() -> None:
    values = [[0.1, 0.9, 0.2], [0.8, 0.0, 0.3], [0.7, 0.1, 0.0]]
    assert hottest(values) == [1, 3, 6, 5]
    picture = np.asarray(greyed(np.zeros((6, 6, 3), dtype=np.uint8), [1, 5], 3))
    assert np.argwhere(picture[::2, ::2, 0]).tolist() == [[0, 1], [1, 2]]
    assert picture.sum() == 2 * 2 * 2 * 3 * 128


def test_the_hottest_must_matter_more_than_the_mean_of_the_draws() -> None:
    assert Falls(0.5, [0.9, 0.0]).more
    assert not Falls(0.4, [0.9, 0.0]).more
