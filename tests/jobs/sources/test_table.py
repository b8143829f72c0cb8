"""CSV and TSV files as rows."""

import csv
from pathlib import Path

import pytest

from blip_serve.jobs.rows import FilePicture
from blip_serve.jobs.sources.file_list import Files
from blip_serve.jobs.sources.records import Records
from blip_serve.jobs.sources.table import Table
from tests.jobs.sources.reading import error_of, rows_of, written


def table(tmp_path: Path, data: bytes | str, max_row_bytes: int = 1000, delimiter: str = ",") -> Table:
    return Table(Files((written(tmp_path / "x.csv", data),)), Records(max_row_bytes=max_row_bytes), delimiter)


def test_rows_are_records_of_strings_with_quoted_newlines(tmp_path: Path) -> None:
    text = '\ufeffimage,text\r\na.png,"two\nlines, ""quoted"""\r\n\r\nb.png,3\r\n'
    source = table(tmp_path, text)
    for size in (1, 2, 256):
        rows = rows_of(source, size)
        assert [row.key for row in rows] == ["x.csv:2", "x.csv:5"]
        assert [row.fields for row in rows] == [
            {"image": "a.png", "text": 'two\nlines, "quoted"'},
            {"image": "b.png", "text": "3"},
        ]
    assert rows[0].picture == FilePicture(str(tmp_path / "a.png"))
    assert source.columns() == {"image": "string", "text": "string"}
    assert source.count() == 2


def test_tabs_separate_a_tsv(tmp_path: Path) -> None:
    assert rows_of(table(tmp_path, "a\tb\n1,5\t2\n", delimiter="\t"))[0].fields == {"a": "1,5", "b": "2"}


def test_cuts_are_the_rows_of_the_whole_wherever_they_begin(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["a", "b"], *([f"{n}\n" * (n % 4), f'"{n},'] for n in range(100))])
    source = Table(Files((str(path),)), Records())
    assert rows_of(source, 7) == rows_of(source, 256)
    assert len(rows_of(source)) == 100


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"1,2,3", "3 values, but the header 2"),
        (b"1", "1 values, but the header 2"),
        (b'"a"b,2', "no CSV ("),
        (b"\xff,2", "no UTF-8"),
        (b"x" * 2000 + b",2", "more than 1000 bytes"),
        (b'"' + b"x" * 2000 + b'",2', "more than 1000 bytes"),
    ],
)
def test_a_record_that_is_wrong_is_an_error_with_its_place(tmp_path: Path, record: bytes, reason: str) -> None:
    rows = rows_of(table(tmp_path, b"a,b\n1,2\n" + record + b"\n3,4\n"), 1)
    assert [row.fields for row in rows] == [{"a": "1", "b": "2"}, {}, {"a": "3", "b": "4"}]
    code, message = error_of(rows[1])
    assert code == "invalid_csv"
    assert message.startswith("x.csv:3: ")
    assert reason in message


def test_a_quote_that_is_not_closed_ends_the_file_with_its_place(tmp_path: Path) -> None:
    rows = rows_of(table(tmp_path, 'a,b\n1,2\n3,"4\n' + "5,6\n" * 1000), 1)
    assert len(rows) == 2
    assert error_of(rows[1])[1].startswith("x.csv:3: the record holds a quote that is not closed within 1000 bytes")
    rows = rows_of(table(tmp_path, 'a,b\n1,2\n3,"4\n' + "5,6\n" * 10), 1)
    assert error_of(rows[1])[1] == "x.csv:3: the record holds no CSV (unexpected end of data)"


@pytest.mark.parametrize("header", [b"a,a\n", b'"a\n' + b"x\n" * 1000, b"\xff,a\n", b"x" * 2000])
def test_a_header_that_is_wrong_is_one_error_row(tmp_path: Path, header: bytes) -> None:
    (row,) = rows_of(table(tmp_path, header + b"1,2\n"))
    assert error_of(row)[1].startswith("x.csv:1: the header holds ")


def test_values_beyond_count_are_no_row(tmp_path: Path) -> None:
    rows = rows_of(table(tmp_path, "a\n" + "," * 1_500_000 + "\n1\n", max_row_bytes=4_000_000))
    assert rows[0].error is not None
    assert rows[1].fields == {"a": "1"}


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    assert rows_of(table(tmp_path, "")) == rows_of(table(tmp_path, "a,b\n")) == []
