"""Cuts become segments: in order, with the pictures that are needed, each row written, counted or rejected."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from blip_serve.errors import InvalidInput
from blip_serve.images.reference import BytesImage
from blip_serve.jobs.manifest import Segment, part_name
from blip_serve.jobs.operators.operator import Ask, Operator
from blip_serve.jobs.pictures import open_pictures
from blip_serve.jobs.pipeline import Job, Pipeline, together
from blip_serve.jobs.plan import Todo
from blip_serve.jobs.rejects import Rejects
from blip_serve.jobs.rows import Cut, Failed, Fields, FilePicture, Kept, Processed, Row
from blip_serve.settings import ImageSettings
from tests.jobs.numbers import BAD, LATE, Double, Numbers, nobody


@dataclass
class Box:
    """A sink that keeps rows. `there`: rows whose output is there. `fails`: the part whose commit fails."""

    needs_picture: bool = False
    there: tuple[int, ...] = ()
    fails: str = ""
    events: list[str] = field(default_factory=list)
    pictures: dict[int, BytesImage | None] = field(default_factory=dict)

    def has(self, row: Row) -> bool:
        """As told."""
        return row.number in self.there

    def part(self, name: str) -> "BoxPart":
        """One that notes what happens to it."""
        self.events.append(f"open {name}")
        return BoxPart(self, name)

    def join(self, names: Iterable[str]) -> None:
        """Nothing."""

    def clean(self, names: Iterable[str]) -> None:
        """Nothing."""


@dataclass
class BoxPart:
    """A part of a `Box`."""

    box: Box
    name: str

    def add(self, row: Row, picture: BytesImage | None, fields: Fields) -> None:
        """Keeps the picture."""
        self.box.pictures[row.number] = picture

    def commit(self) -> None:
        """Fails if told so."""
        if self.name == self.box.fails:
            raise OSError(28, "No space left on device")
        self.box.events.append(f"commit {self.name}")

    def discard(self) -> None:
        """Notes it."""
        self.box.events.append(f"discard {self.name}")


@dataclass(frozen=True)
class Photos(Numbers):
    """Numbers with pictures, but for row 1."""

    folder: Path = Path()

    def rows(self, cut: Cut):  # type: ignore[no-untyped-def]
        """With the file of the row's number."""
        for row in super().rows(cut):
            picture = None if row.number == 1 else FilePicture(str(self.folder / str(row.number)))
            yield Row(row.number, row.key, row.fields, picture)


class Sees(Operator):
    """Needs the picture."""

    async def apply(self, row: Row, picture: BytesImage | None, ask: Ask) -> Fields:
        """How large it is."""
        assert picture is not None
        return {"bytes": len(picture.data)}


def segments(
    job: Job, todo: list[Todo] | None = None, seen: list[Processed] | None = None, stop_after: int | None = None
) -> list[Segment]:
    """The segments of all cuts."""

    async def run() -> list[Segment]:
        found: list[Segment] = []
        async with open_pictures(ImageSettings()) as pictures:
            pipeline = Pipeline(job, nobody, pictures, None if seen is None else seen.append)
            every = iter(todo or [Todo(cut) for cut in job.source.cuts(256)])
            async with aclosing(pipeline.segments(every)) as made:
                async for segment in made:
                    found.append(segment)
                    if len(found) == stop_after:
                        break
        return found

    return asyncio.run(run())


def job(tmp_path: Path, box: Box, source: Numbers | None = None, operator: Operator | None = None) -> Job:
    return Job(source or Numbers(35), operator or Double(), box, Rejects(tmp_path / "r.jsonl", tmp_path / "r"), 4)


def test_a_segment_follows_each_cut_and_one_is_committed_while_the_next_is_written(tmp_path: Path) -> None:
    box, seen = Box(), list[Processed]()
    found = segments(job(tmp_path, box), seen=seen)
    assert [(part_name(segment.cut, segment.attempt), segment.rows) for segment in found] == [
        ("000000", 10), ("000001", 10), ("000002", 10), ("000003", 5)
    ]  # fmt: skip
    assert [processed.row.number for processed in seen] == list(range(35)) == list(box.pictures)
    names = [part_name(segment.cut, segment.attempt) for segment in found]
    assert sorted(box.events) == sorted(f"{what} {name}" for what in ("open", "commit") for name in names)


def test_rows_that_fail_are_noted_with_those_that_may_pass(tmp_path: Path) -> None:
    first, *_ = segments(job(tmp_path, Box(), operator=Double({3: BAD, 7: LATE})))
    assert (first.passing, first.tally.kept, first.tally.failed) == (((7, LATE.code),), 8, {"bad": 1, LATE.code: 1})


def test_rows_taken_up_again_are_counted_anew(tmp_path: Path) -> None:
    again = Todo(Cut(1, 10, 10, 10), 2, failed={12: LATE.code, 17: LATE.code})
    [segment] = segments(job(tmp_path, Box(), operator=Double({17: LATE})), [again])
    assert (part_name(segment.cut, segment.attempt), segment.rows, segment.retried) == ("000001-2", 0, (12, 17))
    assert (segment.tally.kept, segment.tally.failed, segment.passing) == (1, {LATE.code: -1}, ((17, LATE.code),))


def test_rows_whose_output_is_there_are_not_processed(tmp_path: Path) -> None:
    box = Box(there=(0, 4))
    first, *_ = segments(job(tmp_path, box, operator=Double({4: BAD})))
    assert (first.tally.existing, first.tally.kept, first.tally.failed) == (2, 8, {})
    assert 4 not in box.pictures


@pytest.mark.parametrize("needed", [False, True])
def test_pictures_are_read_where_needed_and_handed_to_sinks_that_need_them(tmp_path: Path, needed: bool) -> None:
    for number in (0, 2):
        (tmp_path / str(number)).write_bytes(b"x" * (number + 1))
    box, seen = Box(needs_picture=needed), list[Processed]()
    segments(job(tmp_path, box, Photos(4, folder=tmp_path), Sees()), seen=seen)
    outcomes = [each.outcome for each in seen]
    assert outcomes[0] == Kept({"bytes": 1})
    assert [each.error.code for each in outcomes if isinstance(each, Failed)] == [
        "missing_picture",
        "file_not_readable",
    ]
    assert (
        box.pictures == {0: BytesImage(b"x", "image"), 2: BytesImage(b"xxx", "image")} if needed else {0: None, 2: None}
    )


def test_pictures_that_nobody_needs_are_not_read(tmp_path: Path) -> None:
    [segment] = segments(job(tmp_path, Box(), Photos(4, folder=tmp_path)))
    assert segment.tally.kept == 4


@pytest.mark.parametrize("fails", ["000000", "000001", "000003"])
def test_a_part_that_cannot_be_committed_ends_all_and_nothing_stays_open(tmp_path: Path, fails: str) -> None:
    box = Box(fails=fails)
    with pytest.raises(OSError, match="No space left"):
        segments(job(tmp_path, box))
    opened = {event.split()[1] for event in box.events if event.startswith("open")}
    ended = {event.split()[1] for event in box.events if not event.startswith("open")}
    assert opened - ended == {fails}
    assert not list(tmp_path.rglob("*.tmp"))


def test_an_end_before_the_end_discards_what_is_not_committed(tmp_path: Path) -> None:
    box = Box()
    segments(job(tmp_path, box), stop_after=1)
    opened = [event.split()[1] for event in box.events if event.startswith("open")]
    assert len(opened) < 4
    assert len(box.events) == 2 * len(opened)


def test_an_error_that_is_no_row_s_ends_all(tmp_path: Path) -> None:
    class Broken(Double):
        async def apply(self, row: Row, picture: BytesImage | None, ask: Ask) -> Fields:
            raise ZeroDivisionError

    box = Box()
    with pytest.raises(ZeroDivisionError):
        segments(job(tmp_path, box, operator=Broken()))
    assert not [event for event in box.events if event.startswith("commit")]


@pytest.mark.parametrize(
    ("source", "operator", "both"),
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"b": 1}, {"b": 2}, {"source_b": 1, "b": 2}),
        ({"b": 1, "source_b": 3}, {"b": 2}, {"source_source_b": 1, "source_b": 3, "b": 2}),
        ({"b": 1}, {}, {"source_b": 1}),
    ],
)
def test_columns_of_one_name_are_kept_apart(
    source: Mapping[str, int], operator: Mapping[str, int], both: Mapping[str, int]
) -> None:
    assert together(source, operator, ["b"], source) == both


@pytest.mark.parametrize("operator", [Sees(), Double(), Double({2: BAD})])
def test_rows_that_are_processed_do_not_keep_their_pictures(tmp_path: Path, operator: Operator) -> None:
    class Inside(Numbers):
        def rows(self, cut: Cut):  # type: ignore[no-untyped-def]
            return (Row(row.number, row.key, row.fields, BytesImage(b"x", "jpg")) for row in super().rows(cut))

    seen = list[Processed]()
    segments(job(tmp_path, Box(), Inside(4), operator), seen=seen)
    assert [processed.row.picture for processed in seen] == [None] * 4


@pytest.mark.parametrize("row", [{"b": 1}, {"source_b": 3}, {"b": 1, "source_b": 3}])
def test_a_column_has_one_name_in_all_rows(row: Mapping[str, int]) -> None:
    known = {"a", "b", "source_b"}
    names = {"b": "source_source_b", "source_b": "source_b"}
    assert together(row, {"b": 2}, ["b"], known) == {"b": 2} | {names[name]: value for name, value in row.items()}


@pytest.mark.parametrize("known", [{"b"}, {"source_b"}, set[str]()])
def test_no_column_takes_the_place_of_another(known: set[str]) -> None:
    found = together({"b": 1, "source_b": 3, "source_c": 4, "c": 5}, {"b": 2, "source_c": 6}, ["b", "source_c"], known)
    assert sorted(found.values()) == [1, 2, 3, 4, 5, 6]


def test_an_error_is_kept_without_what_it_passed_through(tmp_path: Path) -> None:
    error = InvalidInput("no")
    seen = list[Processed]()
    segments(job(tmp_path, Box(), operator=Double({3: error})), seen=seen)
    assert isinstance(seen[3].outcome, Failed)
    assert seen[3].outcome.error.__traceback__ is None
