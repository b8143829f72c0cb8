"""What is left to do: cuts and parts of cuts that the manifest does not have."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from blip_serve.jobs.manifest import Manifest, Segment
from blip_serve.jobs.plan import WHOLE, Shard, Todo, cuts, todo
from blip_serve.jobs.rows import Cut
from blip_serve.jobs.tally import Tally
from tests.jobs.numbers import LATE, Numbers

SOURCE = Numbers(35)


@pytest.fixture
def manifest(tmp_path: Path) -> Iterator[Manifest]:
    with Manifest(tmp_path) as opened:
        yield opened


def left(manifest: Manifest, limit: int | None = None, retry: bool = False) -> list[Todo]:
    return list(todo(cuts(SOURCE, WHOLE, limit), manifest, retry))


def numbers(found: Todo) -> list[int]:
    return [row.number for row in found.rows(SOURCE)]


@pytest.mark.parametrize(("limit", "counts"), [(None, [10, 10, 10, 5]), (20, [10, 10]), (21, [10, 10, 1]), (0, [])])
def test_a_limit_shortens_the_last_cut(limit: int | None, counts: list[int]) -> None:
    assert [cut.count for cut in cuts(SOURCE, WHOLE, limit)] == counts


def test_shards_take_turns_with_the_cuts() -> None:
    assert [[cut.index for cut in cuts(SOURCE, Shard(index, 3), 31)] for index in range(3)] == [[0, 3], [1], [2]]


def test_cuts_that_are_done_are_left_out_and_the_rest_of_a_cut_is_an_attempt_of_its_own(manifest: Manifest) -> None:
    manifest.commit(Segment(0, 0, 10, Tally()))
    manifest.commit(Segment(1, 0, 4, Tally()))
    first, second, third = left(manifest)
    assert (first.cut.index, first.attempt, numbers(first)) == (1, 1, list(range(14, 20)))
    assert (second.cut.index, second.attempt, numbers(second)) == (2, 0, list(range(20, 30)))
    assert third.count == 5
    assert left(manifest, limit=12) == []


def test_rows_that_may_pass_come_before_the_rest_of_their_cut(manifest: Manifest) -> None:
    manifest.commit(Segment(1, 0, 4, Tally(), ((11, LATE.code), (13, LATE.code))))
    assert [each.failed for each in left(manifest)] == [None] * 4
    _, again, rest, *_ = left(manifest, retry=True)
    assert (again.attempt, again.count, numbers(again)) == (1, 2, [11, 13])
    assert (rest.attempt, numbers(rest)) == (2, list(range(14, 20)))


def test_rows_beyond_the_limit_are_not_among_those_that_may_pass(manifest: Manifest) -> None:
    manifest.commit(Segment(0, 0, 10, Tally(), ((2, LATE.code), (8, LATE.code))))
    [again] = left(manifest, limit=5, retry=True)
    assert (again.count, numbers(again)) == (1, [2])


def test_a_source_that_has_fewer_rows_now_is_told() -> None:
    with pytest.raises(OSError, match="it has 5 of 10 rows from row 30 on"):
        numbers(Todo(Cut(3, 30, 10, 30)))
