"""CapFilt's measurement: hard pairs, their truth, and the judgement, each of which can fail."""

from collections import Counter
from random import Random

import pytest

from bulk.capfilt import scored
from bulk.judgement import Text, filtered, lowest_threshold, of_origin, verdict
from bulk.pairs import hard_pairs
from bulk.truth import mentions_of, true_of
from demo.captions import Mention, Speaker, is_true
from demo.world import Scene, Thing, World

RED, BLUE = Thing("large", "red", "circle"), Thing("small", "blue", "cross")


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("a large red circle", True),
        ("a drawing of a big circle with a little blue cross.", True),
        ("a small red circle", False),
        ("a large blue circle and a small red cross", False),
        ("two large red circles", False),
        ("a dog", False),
        ("a large red circle and a", False),
        ("a red large circle", False),
        ("", False),
    ],
)
def test_a_text_is_true_if_each_thing_that_it_names_is_there(text: str, true: bool) -> None:
    assert true_of(text, Scene((RED, BLUE))) is true


def test_two_of_the_same_are_two_things() -> None:
    assert true_of("two large red circles", Scene((RED, RED)))
    assert mentions_of("two crosses") == (Mention(None, None, "cross"),) * 2


def test_what_the_speaker_says_is_read_back_as_it_was_meant() -> None:
    rng = Random(0)
    world, speaker = World(rng), Speaker(rng)
    for _ in range(500):
        scene, other = world.lesson(), world.lesson()
        caption = speaker.say(speaker.mentions(other))
        assert true_of(caption.text, scene) == is_true(caption.mentions, scene), caption.text


def test_a_third_of_the_web_texts_is_false_and_the_pairs_are_the_same_again() -> None:
    pairs = list(hard_pairs(200))
    assert pairs[:50] == list(hard_pairs(50))
    assert pairs[:50] != list(hard_pairs(50, seed=1))
    assert all(true_of(pair.text, pair.scene) == (pair.kind == "right") for pair in pairs)
    kinds = Counter(pair.kind for pair in pairs)
    assert 0.2 < 1 - kinds["right"] / len(pairs) < 0.42
    assert kinds["wrong"] > kinds["unrelated"]


def texts(*rows: tuple[str, float, bool], origin: str = "web") -> list[Text]:
    return [Text(picture, origin, f"text {i}", score, true) for i, (picture, score, true) in enumerate(rows)]  # type: ignore[arg-type]


def test_precision_and_recall_are_those_of_what_is_dropped() -> None:
    rows = texts(("a", 0.9, True), ("b", 0.8, False), ("c", 0.2, True), ("d", 0.1, False), ("e", 0.1, False))
    found = filtered(rows, {"web": 0.5})
    assert (found.dropped, found.true_texts, found.pictures) == (3, 1, 1)
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == pytest.approx(2 / 3)
    assert found.false_left == pytest.approx(1 / 2)


def test_the_same_text_of_a_picture_counts_once() -> None:
    rows = [Text("a", "web", "a circle.", 1.0, True), Text("a", "synthetic", "a circle", 1.0, True)]
    assert filtered(rows, {"web": 0.5, "synthetic": 0.5}).true_texts == 1


def test_the_lowest_threshold_keeps_texts_of_one_score_together() -> None:
    rows = texts(("a", 0.9, True), ("b", 0.8, True), ("c", 0.8, False), ("d", 0.7, True), ("e", 0.7, True))
    assert lowest_threshold(rows) == 0.9
    assert lowest_threshold(rows, 0.2) == 0.7
    assert lowest_threshold(texts(("a", 0.9, False))) == float("inf")


def test_synthetic_texts_of_other_pictures_are_a_gain_and_those_of_the_same_are_none() -> None:
    web = texts(("a", 0.9, True), ("b", 0.1, False))
    for picture, gain in (("b", True), ("a", False)):
        both = [*web, *texts((picture, 0.9, True), origin="synthetic")]
        judged = verdict(both, both)
        assert judged.gains(judged.both) is gain
        assert judged.gains(judged.at_one) is gain


def test_no_gain_if_more_than_one_in_a_hundred_is_false() -> None:
    web = texts(*((f"w{i}", 0.9, True) for i in range(10)))
    synthetic = texts(*((f"s{i}", 0.9, True) for i in range(10)), origin="synthetic")
    wrong = texts(("s10", 0.95, False), origin="synthetic")
    judged = verdict([*web, *synthetic, *wrong], chosen_on=[*web, *synthetic])
    assert judged.both.true_texts == 20
    assert not judged.gains(judged.both)


def test_one_threshold_may_cost_web_texts_what_synthetic_ones_need() -> None:
    web = texts(*((f"w{i}", 0.5, True) for i in range(10)))
    synthetic = texts(("s", 0.9, True), *((f"f{i}", 0.6, False) for i in range(5)), origin="synthetic")
    judged = verdict([*web, *synthetic], [*web, *synthetic])
    assert judged.gains(judged.both)
    assert not judged.gains(judged.at_one)


@pytest.mark.full
def test_the_demo_models_drop_false_web_texts() -> None:
    found = scored(40, seed=0)
    assert [text.words for text in of_origin(found, "web")] == [pair.text for pair in hard_pairs(40)]
    assert sum(text.true for text in of_origin(found, "synthetic")) > 20
    web = filtered(of_origin(found, "web"), {"web": 0.5})
    assert web.recall > 0.8
    assert web.precision > 0.6
