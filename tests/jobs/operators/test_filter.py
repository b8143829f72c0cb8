"""Rows that stay and rows that are dropped."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from blip_serve.errors import ConfigurationError, InvalidInput
from blip_serve.jobs.operators.best import find_best
from blip_serve.jobs.operators.filter import FilterOperator
from blip_serve.jobs.operators.match import MatchOperator
from blip_serve.jobs.rows import Dropped, Row
from tests.jobs.operators.support import applied, outcome, row, without_asking


def test_a_score_of_the_source_is_compared_without_a_request() -> None:
    operator = FilterOperator("aesthetic", 5)
    kept, low, at = without_asking(operator, [row(aesthetic=5.5), row(aesthetic=4.9), row(aesthetic=5)])
    assert (kept, low, at) == ({}, Dropped("aesthetic below 5", {}), {})
    assert (operator.needs_picture, operator.columns) == (False, {})


def test_with_a_text_the_score_is_computed_first_and_is_a_column() -> None:
    scored = outcome(MatchOperator("alt", ("itm",)), row(alt="a star"))
    assert isinstance(scored, dict)
    number = scored["itm_score"]
    assert outcome(FilterOperator("itm_score", number, "alt"), row(alt="a star")) == scored
    dropped = outcome(FilterOperator("itm_score", 1.5, "alt"), row(alt="a star"))
    assert dropped == Dropped("itm_score below 1.5", scored)
    assert len(applied(FilterOperator("itm_score", 1.5, "alt"), row(alt="a star"))[1]) == 1


@pytest.mark.parametrize("value", [None, "0.9", True, float("nan"), float("inf"), 10**400])
def test_a_score_that_is_no_number_is_the_row_s_error(value: object) -> None:
    with pytest.raises(InvalidInput) as found:
        without_asking(FilterOperator("aesthetic", 5), [row(aesthetic=value)])
    assert found.value.param == "aesthetic"


def test_a_score_that_no_match_has_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="itm_score or cosine_score"):
        FilterOperator("aesthetic", 5, "alt")


@pytest.mark.parametrize(("share", "kept"), [(0.3, 3), (0.31, 4), (0.001, 1), (1, 10), (0.7, 7)])
def test_the_best_share_is_rounded_up_exactly(tmp_path: Path, share: float, kept: int) -> None:
    rows = [row(i, score=i % 10) for i in range(10)]
    operator = find_best(rows, "score", share, tmp_path)
    assert [each == {} for each in without_asking(operator, rows)] == [i >= 10 - kept for i in range(10)]
    assert not list(tmp_path.iterdir())


def test_of_equal_rows_the_earlier_ones_are_kept(tmp_path: Path) -> None:
    rows = [row(i, score=1 if i % 2 else 2) for i in range(8)]
    operator = find_best(rows, "score", 0.75, tmp_path)
    assert [i for i, each in enumerate(without_asking(operator, rows)) if each == {}] == [0, 1, 2, 3, 4, 6]


def test_the_best_share_equals_a_sort_in_memory(tmp_path: Path) -> None:
    draw = random.Random(1)
    rows = [row(i, score=draw.choice([draw.random(), 0.5, -3, 1e308])) for i in range(2_000)]
    operator = find_best(rows, "score", 0.123, tmp_path)
    best = sorted(rows, key=lambda each: (-each.fields["score"], each.number))[:246]
    kept = {each.number for each, found in zip(rows, without_asking(operator, rows), strict=True) if found == {}}
    assert kept == {each.number for each in best}


def test_rows_without_a_number_do_not_count_and_fail_by_themselves(tmp_path: Path) -> None:
    rows = [row(0, score=1), row(1), row(2, score="x"), row(3, score=2)]
    operator = find_best(rows, "score", 0.5, tmp_path)
    assert without_asking(operator, [rows[0], rows[3]]) == [Dropped("score not among the best 0.5", {}), {}]
    for wrong in rows[1:3]:
        with pytest.raises(InvalidInput) as found:
            without_asking(operator, [wrong])
        assert found.value.param == "score"


@pytest.mark.parametrize("share", [0, -1, 1.1, float("nan")])
def test_what_is_no_share_is_refused(tmp_path: Path, share: float) -> None:
    with pytest.raises(ConfigurationError, match="share"):
        find_best([row(score=1)], "score", share, tmp_path)


def test_a_source_without_any_such_number_is_refused(tmp_path: Path) -> None:
    def rows() -> Iterator[Row]:
        yield row(other=1)

    with pytest.raises(ConfigurationError, match="'score'"):
        find_best(rows(), "score", 0.5, tmp_path)
    assert not list(tmp_path.iterdir())


def test_scores_are_sorted_in_the_folder_given_and_a_full_disk_is_told(tmp_path: Path) -> None:
    seen: set[str] = set()

    def rows() -> Iterator[Row]:
        for number in range(3):
            seen.update(path.name for place in tmp_path.glob(".best-*") for path in place.iterdir())
            yield row(number, score=number)
        with closing(sqlite3.connect(next(tmp_path.glob(".best-*/scores.sqlite")))) as database:
            [[sorting]] = database.execute("PRAGMA temp_store_directory")
            assert sorting.startswith(str(tmp_path))
            database.execute("DROP TABLE scores")

    with pytest.raises(OSError, match="no such table") as found:
        find_best(rows(), "score", 0.5, tmp_path)
    assert str(found.value.filename).startswith(str(tmp_path))
    assert (seen, list(tmp_path.iterdir())) == ({"scores.sqlite"}, [])
