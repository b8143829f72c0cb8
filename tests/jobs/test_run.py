"""A run from its plan to its end: what is written, what is rejected, what is counted; and how it goes on."""

from collections import deque
from collections.abc import Mapping
from pathlib import Path

import pytest

from blip_serve.errors import ModelNotFound, ServiceError
from blip_serve.jobs.manifest import Manifest
from blip_serve.jobs.plan import Shard
from blip_serve.jobs.run import Plan
from tests.jobs.numbers import BAD, LATE, Double, Numbers, Place, lines, numbers_of
from tests.support.memory import memory_within


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def parts(place: Place) -> list[str]:
    return sorted(path.name for path in (place.folder / "state" / "parts").iterdir())


def test_rows_are_written_in_order_each_once(place: Place) -> None:
    tally = place.run(Numbers(35))
    assert place.written == list(range(35))
    assert (tally.rows, tally.kept, tally.best[0][1], tally.worst[0][1]) == (35, 35, 34, 0)
    assert (place.rejected, parts(place)) == ([], [])
    assert [processed.row.number for processed in place.seen] == list(range(35))


def test_a_run_that_ended_does_nothing_more(place: Place) -> None:
    first = place.run(Numbers(35))
    assert place.run(Numbers(35)) == first
    assert len(place.seen) == 35
    assert place.plan(Numbers(35)) == Plan(35, 35, 0, 0)


def test_parts_that_a_run_left_when_it_was_stopped_at_its_end_are_deleted(place: Place) -> None:
    place.run(Numbers(35))
    (place.folder / "state" / "parts" / "000001.jsonl").touch()
    place.run(Numbers(35))
    assert parts(place) == []


def test_a_run_without_rows_writes_an_empty_file(place: Place) -> None:
    assert place.run(Numbers(0)).rows == 0
    assert place.written == []


@pytest.mark.parametrize("limits", [(5, 25, None), (10, None), (34, 35), (7, 8, 9, 40)])
def test_after_a_limit_the_rest_follows(place: Place, limits: tuple[int | None, ...]) -> None:
    for limit in limits:
        tally = place.run(Numbers(35), limit=limit)
        assert place.written == list(range(35))[:limit]
        assert tally.kept == len(place.written)
    assert len(place.seen) == 35


def test_a_lower_limit_than_before_keeps_what_is_done(place: Place) -> None:
    place.run(Numbers(35), limit=25)
    assert place.plan(Numbers(35), limit=5) == Plan(5, 5, 0, 0)
    place.run(Numbers(35), limit=5)
    assert place.written == list(range(25))


def test_shards_cover_each_row_once(tmp_path: Path) -> None:
    places = [Place(tmp_path / str(index)) for index in range(3)]
    for index, place in enumerate(places):
        planned = place.plan(Numbers(95), shard=Shard(index, 3))
        assert place.run(Numbers(95), shard=Shard(index, 3)).rows == planned.rows
    assert sorted(number for place in places for number in place.written) == list(range(95))


def test_what_is_dropped_or_failed_is_rejected_with_its_reason_and_columns(place: Place) -> None:
    tally = place.run(Numbers(12, broken=(3,)), Double({4: BAD, 6: LATE}, odd=False, unfit=(8,)))
    assert place.written == [0, 2, 10]
    assert (tally.kept, tally.dropped, tally.rows) == (3, {"odd": 5}, 12)
    assert tally.failed == {"bad": 2, "deadline_exceeded": 1, "not_finite": 1}
    assert numbers_of(place.rejected) == [1, 3, 4, 5, 6, 7, 8, 9, 11]
    one, three, four = place.rejected[:3]
    assert one == {"row": 1, "key": "row 1", "reason": "odd", "number": 1, "source_double": "old", "double": 2}
    assert three == {"row": 3, "key": "row 3", "error": {"code": "bad", "message": "It is bad.", "param": None}}
    assert (four["error"]["code"], four["number"]) == ("bad", 4)


def test_rows_that_may_pass_are_taken_up_when_asked_and_written_once(place: Place) -> None:
    failing: Mapping[int, ServiceError] = {3: LATE, 14: LATE, 15: BAD, 21: LATE}
    first = place.run(Numbers(35), Double(failing))
    assert first.failed == {"deadline_exceeded": 3, "bad": 1}
    assert place.run(Numbers(35), Double(failing)) == first
    assert place.plan(Numbers(35), retry=True) == Plan(35, 35, 0, 3)
    second = place.run(Numbers(35), Double({14: LATE}), retry=True)
    assert (second.failed, second.kept, second.rows) == ({"deadline_exceeded": 1, "bad": 1}, 33, 35)
    assert numbers_of(place.rejected) == [14, 15]
    third = place.run(Numbers(35), retry=True)
    assert (third.failed["deadline_exceeded"], third.failed["bad"], third.kept) == (0, 1, 34)
    assert numbers_of(place.rejected) == [15]
    assert sorted(place.written) == [number for number in range(35) if number != 15]
    assert len(place.seen) == 35 + 3 + 1
    assert parts(place) == []


def test_rows_beyond_a_lower_limit_are_not_taken_up(place: Place) -> None:
    place.run(Numbers(35), Double({3: LATE, 8: LATE, 12: LATE}), limit=25)
    tally = place.run(Numbers(35), limit=5, retry=True)
    assert (tally.failed, numbers_of(place.rejected)) == ({"deadline_exceeded": 2}, [8, 12])
    place.run(Numbers(35), retry=True)
    assert sorted(place.written) == list(range(35))


def test_rows_are_taken_up_though_their_cut_was_not_finished(place: Place) -> None:
    place.run(Numbers(35), Double({3: LATE}), limit=5)
    place.run(Numbers(35), retry=True)
    assert sorted(place.written) == list(range(35))
    assert place.rejected == []


def test_an_error_of_the_whole_run_ends_it_and_what_is_done_stays(place: Place) -> None:
    with pytest.raises(ModelNotFound):
        place.run(Numbers(35), Double({25: ModelNotFound("There is no such model.")}))
    with Manifest(place.folder / "state") as manifest:
        assert manifest.rows() in (10, 20)  # the second may still have been on its way to the disk
    assert not (place.folder / "out.jsonl").exists()
    assert not list(place.folder.rglob("*.tmp"))
    place.run(Numbers(35))
    assert place.written == list(range(35))


def test_a_source_that_has_changed_ends_the_run(place: Place) -> None:
    class Shorter(Numbers):
        def rows(self, cut):  # type: ignore[no-untyped-def]
            return list(super().rows(cut))[:-1] if cut.index == 1 else super().rows(cut)

    with pytest.raises(OSError, match="it has 9 of 10 rows from row 10 on"):
        place.run(Shorter(35))


def test_a_column_of_the_source_that_the_operator_makes_too_has_another_name(place: Place) -> None:
    place.run(Numbers(2))
    assert lines(place.folder / "out.jsonl")[1] == {"key": "row 1", "number": 1, "source_double": "old", "double": 2}


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    few, many = Place(tmp_path / "few", deque(maxlen=1)), Place(tmp_path / "many", deque(maxlen=1))
    few.run(Numbers(2_000, 256), Double(odd=False))
    with memory_within(4 << 20):
        many.run(Numbers(20_000, 256), Double(odd=False))
    assert many.plan(Numbers(20_000, 256)).left == 0
