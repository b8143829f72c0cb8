"""The file of rejects: its lines, and which of several parts counts."""

import json
from pathlib import Path

import pytest

from blip_serve.errors import InvalidInput
from blip_serve.jobs.rejects import Rejects
from blip_serve.jobs.rows import Dropped, Failed, Fields, Row
from tests.jobs.numbers import lines

LOW = Dropped("low", {})


@pytest.fixture
def rejects(tmp_path: Path) -> Rejects:
    return Rejects(tmp_path / "out.rejects.jsonl", tmp_path / "state")


def write(rejects: Rejects, name: str, *numbers: int, passed: tuple[int, ...] = ()) -> None:
    part = rejects.part(name)
    for number in sorted((*numbers, *passed)):
        if number in passed:
            part.passed(Row(number, "", {}))
        else:
            part.add(Row(number, f"row {number}", {}), LOW, {"from": name})
    part.commit()


def joined(rejects: Rejects, *names: str) -> list[tuple[int, str]]:
    rejects.join(names)
    return [(row["row"], row["from"]) for row in lines(rejects.path)] if rejects.path.exists() else []


def test_of_several_parts_of_a_cut_the_last_counts(rejects: Rejects) -> None:
    write(rejects, "000000", 1, 4)
    write(rejects, "000001", 11, 12, 13)
    write(rejects, "000001-1", 11, 17, passed=(12,))
    write(rejects, "000001-2", passed=(11,))
    names = ["000000", "000001", "000001-1", "000001-2", "000002"]
    assert joined(rejects, *names[:3]) == [
        (1, "000000"), (4, "000000"), (11, "000001-1"), (13, "000001"), (17, "000001-1")
    ]  # fmt: skip
    assert joined(rejects, *names) == [(1, "000000"), (4, "000000"), (13, "000001"), (17, "000001-1")]
    rejects.clean(names)
    assert not list(rejects.folder.iterdir())


def test_without_rejected_rows_there_is_no_file_and_no_part(rejects: Rejects) -> None:
    rejects.path.write_text("of an earlier end of the run")
    write(rejects, "000000")
    assert joined(rejects, "000000") == []
    assert not rejects.folder.exists()


def test_a_part_without_rows_replaces_what_an_interrupted_run_left(rejects: Rejects) -> None:
    write(rejects, "000000", 1)
    write(rejects, "000000")
    assert joined(rejects, "000000") == []


def test_a_discarded_part_leaves_nothing(rejects: Rejects) -> None:
    part = rejects.part("000000")
    part.add(Row(1, "a", {}), LOW, {})
    part.discard()
    assert not list(rejects.folder.iterdir())


@pytest.mark.parametrize(
    ("fields", "written"),
    [
        (
            {"key": "k", "row": [7], "reason": "r", "error": 5},
            {"source_key": "k", "source_row": [7], "source_reason": "r", "source_error": 5},
        ),
        ({"caption": "größer \u2028"}, {"caption": "größer \u2028"}),
        ({"score": float("nan"), "data": b"12"}, {"score": "nan", "data": "b'12'"}),
        ({"name": "\udcff.png"}, {"name": "\udcff.png"}),
    ],
    ids=["names of the line's own", "any language", "what JSON cannot hold", "a file's name that is no UTF-8"],
)
def test_any_columns_are_written(rejects: Rejects, fields: Fields, written: Fields) -> None:
    part = rejects.part("000000")
    part.add(Row(3, "a", fields), Failed(InvalidInput("No.", code="bad", param="x")), fields)
    part.commit()
    rejects.join(["000000"])
    [line] = rejects.path.read_bytes().splitlines()
    error = {"code": "bad", "message": "No.", "param": "x"}
    assert json.loads(line) == {"row": 3, "key": "a", "error": error, **written}
