"""JSON Lines as rows."""

import json
import time
from pathlib import Path

import pytest

from blip_serve.images.reference import BytesImage, UnreadableImage, UrlImage
from blip_serve.jobs.rows import FilePicture
from blip_serve.jobs.sources.file_list import Files
from blip_serve.jobs.sources.lines import Lines
from blip_serve.jobs.sources.records import Columns, Records
from tests.jobs.sources.reading import error_of, rows_of, written
from tests.support.memory import memory_within
from tests.support.pictures import data_uri, encoded, picture

MB = 1024 * 1024
RECORDS = Records()


def test_rows_are_the_lines_and_their_keys_the_places(tmp_path: Path) -> None:
    path = written(tmp_path / "pairs.jsonl", '{"image": "a.png", "text": "é"}\n\n  \r\n{"image": "b.png"}\r\n{"n": 1}')
    rows = rows_of(Lines(Files((path,)), RECORDS), 2)
    assert [row.key for row in rows] == ["pairs.jsonl:1", "pairs.jsonl:4", "pairs.jsonl:5"]
    assert rows[0].fields == {"image": "a.png", "text": "é"}
    assert rows[0].picture == FilePicture(str(tmp_path / "a.png"))
    assert rows[2].picture is None


def test_keys_of_files_of_one_name_differ(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        written(tmp_path / name / "x.jsonl", '{"n": 1}\n')
    source = Lines(Files((str(tmp_path / "a/x.jsonl"), str(tmp_path / "b/x.jsonl"))), RECORDS)
    assert [row.key for row in rows_of(source)] == ["a/x.jsonl:1", "b/x.jsonl:1"]
    assert list(source.identity()) == ["a/x.jsonl", "b/x.jsonl"]


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64])
def test_cuts_are_the_same_however_the_file_is_split_into_blocks(
    tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "\n\n"
        + "".join(json.dumps({"n": n}) + " " * (n % 5) + "\n" + "  \n" * (n % 3 == 0) for n in range(50))
        + '{"n": 50}'
    )
    source = Lines(Files((written(tmp_path / "x.jsonl", text),)), RECORDS)
    expected = list(source.cuts(7))
    monkeypatch.setattr("blip_serve.jobs.sources.line_starts.BLOCK", block)
    assert list(source.cuts(7)) == expected
    assert [row.fields["n"] for row in rows_of(source, 7)] == list(range(51))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "no JSON"),
        ("[1]", "no JSON object"),
        ('{"a": NaN}', "NaN is no JSON"),
        ('{"a": -Infinity}', "-Infinity is no JSON"),
        ('{"a": 1e999}', "a number too large"),
        ('{"a": ' + "9" * 5000 + "}", "Exceeds the limit"),
        ('{"a": "\\ud800"}', "half of a surrogate pair"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ('{"a": ' + "[" * 70 + "]" * 70 + "}", "nested more than 64 deep"),
        ('{"a": [' + "0," * 1_100_000 + "0]}", "more than 1000000 values"),
        (b'{"a": "\xff"}', "no UTF-8"),
    ],
)
def test_a_line_that_is_no_object_is_an_error_with_its_place(tmp_path: Path, line: str | bytes, reason: str) -> None:
    data = line if isinstance(line, bytes) else line.encode()
    rows = rows_of(Lines(Files((written(tmp_path / "x.jsonl", b'{"n": 1}\n' + data + b'\n{"n": 3}\n'),)), RECORDS))
    assert [row.fields for row in rows] == [{"n": 1}, {}, {"n": 3}]
    code, message = error_of(rows[1])
    assert code == "invalid_json"
    assert message.startswith("x.jsonl:2: ")
    assert reason in message


def test_a_whole_surrogate_pair_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", '{"a": "\\ud83d\\ude00"}')
    assert rows_of(Lines(Files((path,)), RECORDS))[0].fields == {"a": "\U0001f600"}


@pytest.mark.parametrize("size", [1000, 1001, 5000])
def test_a_line_over_the_bound_is_an_error_and_the_next_is_read(tmp_path: Path, size: int) -> None:
    line = json.dumps({"a": "x" * (size - 9)})
    assert len(line) == size
    path = written(tmp_path / "x.jsonl", f'{line}\n{{"n": 2}}\n{line}')
    rows = rows_of(Lines(Files((path,)), Records(max_row_bytes=1000)))
    assert rows[1].fields == {"n": 2}
    if size == 1000:
        assert rows[0].error is rows[2].error is None
    else:
        assert error_of(rows[2]) == ("row_too_large", "x.jsonl:3: the line is longer than 1000 bytes")


def test_a_line_of_hundreds_of_megabytes_is_never_held(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with path.open("wb") as file:
        file.write(b'{"n": 1}\n{"a": "')
        file.seek(300 * MB)  # a hole: zeros
        file.write(b'"}\n{"n": 3}\n')
    source = Lines(Files((str(path),)), Records(max_row_bytes=8 * MB))
    rows_of(Lines(Files((written(tmp_path / "warm.jsonl", '{"n": 1}'),)), RECORDS))
    with memory_within(100 * MB):
        rows = rows_of(source)
    assert [row.fields for row in rows] == [{"n": 1}, {}, {"n": 3}]
    assert error_of(rows[1])[0] == "row_too_large"


def test_a_million_lines_are_cut_in_seconds(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    line = json.dumps({"image": "x.jpg", "text": "y" * 119}).encode() + b"\n"
    assert len(line) == 150
    with path.open("wb") as file:
        for _ in range(100):
            file.write(line * 10_000)
    start = time.monotonic()
    with memory_within(100 * MB):
        assert sum(cut.count for cut in Lines(Files((str(path),)), RECORDS).cuts(256)) == 1_000_000
    assert time.monotonic() - start < 10  # 0.6 s on an idle machine


def test_rows_that_are_missing_since_the_file_was_cut_are_errors(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", '{"n": 1}\n' * 3)
    source = Lines(Files((path,)), RECORDS)
    (cut,) = source.cuts(256)
    written(tmp_path / "x.jsonl", '{"n": 1}\n')
    assert [row.error is None for row in source.rows(cut)] == [True, False, False]
    (tmp_path / "x.jsonl").unlink()
    assert [error_of(row)[0] for row in source.rows(cut)] == ["file_not_readable"] * 3


def test_columns_are_typed_by_the_first_rows(tmp_path: Path) -> None:
    values: list[dict[str, object]] = [
        {
            "s": "x",
            "n": 1,
            "f": 1,
            "b": True,
            "l": ["x"],
            "k": [1],
            "v": [1, 2.5],
            "j": {"a": 1},
            "m": "x",
            "none": None,
        },
        {"s": None, "n": 2, "f": 1.5, "b": False, "l": None, "k": [2**60], "v": [3], "j": [], "m": 1, "big": 2**70},
    ]
    path = written(tmp_path / "x.jsonl", "\n".join(json.dumps(value) for value in values))
    assert Lines(Files((path,)), RECORDS).columns() == {
        "s": "string", "n": "integer", "f": "number", "b": "boolean", "l": "strings", "k": "integers", "v": "numbers",
        "j": "json", "m": "json", "none": "string", "big": "json",
    }  # fmt: skip


def test_the_picture_is_a_path_a_url_or_a_data_uri(tmp_path: Path) -> None:
    uri = data_uri(picture(1))
    values = ["x.png", "https://example.com/x.png", uri, "data:image/png,x", "", 7]
    path = written(tmp_path / "x.jsonl", "\n".join(json.dumps({"pic": value, "id": 5}) for value in values))
    rows = rows_of(Lines(Files((path,)), Records(Columns(picture="pic"))))
    assert [row.picture for row in rows[:3]] == [
        FilePicture(str(tmp_path / "x.png")),
        UrlImage("https://example.com/x.png", "pic"),
        BytesImage(encoded(picture(1)), "pic"),
    ]
    assert [row.picture.error.code for row in rows[3:] if isinstance(row.picture, UnreadableImage)] == [
        "invalid_data_uri", "empty_image", "invalid_type",
    ]  # fmt: skip
    assert [sorted(row.fields) for row in rows[:3]] == [["id", "pic"], ["id", "pic"], ["id"]]


def test_a_column_gives_the_keys(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", '{"id": "a"}\n{"id": 7}\n{"id": null}\n{}\n{"id": true}\n{"id": ""}')
    rows = rows_of(Lines(Files((path,)), Records(Columns(key="id"))))
    assert [row.key for row in rows[:2]] == ["a", "7"]
    assert [error_of(row)[0] for row in rows[2:]] == ["invalid_key"] * 4
