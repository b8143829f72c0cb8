"""Two checkouts measured by turns."""

from collections.abc import Mapping

import pytest

from bench.against.turns import Comparison, take_turns


def test_each_side_is_first_as_often_as_the_other_and_the_warm_turn_does_not_count() -> None:
    asked: list[str] = []

    def measure(side: str) -> Mapping[tuple[str, str], float]:
        asked.append(side)
        return {("a pair", "ms"): float(len(asked))}

    [row] = take_turns("pairs", measure, "before", "after", pairs=2)
    assert asked == ["before", "after", "before", "after", "after", "before"]
    assert row.pairs == [(3.0, 4.0), (6.0, 5.0)]


@pytest.mark.parametrize(("unit", "worse"), [("ms", 2.0), ("MB", 2.0), ("pairs/s", 0.5)])
def test_a_ratio_above_one_is_worse_whatever_the_unit(unit: str, worse: float) -> None:
    row = Comparison("pairs", "a pair", unit, [(1.0, 2.0)] * 3)
    assert row.ratios == (worse, worse, worse)
    assert row.error == 0.0


def test_the_ratio_is_the_median_of_the_pairs_and_not_of_the_sides() -> None:
    """A machine that slows down half way changes both sides of the pairs after that, and no ratio."""
    row = Comparison("pairs", "a pair", "ms", [(1.0, 1.1), (1.0, 1.1), (5.0, 5.5), (5.0, 5.5)])
    assert row.ratios[1] == pytest.approx(1.1)
