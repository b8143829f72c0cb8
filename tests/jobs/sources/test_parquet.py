"""Parquet files as rows."""

from collections.abc import Iterator, Sequence
from datetime import datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from blip_serve.images.reference import BytesImage, UrlImage
from blip_serve.jobs.rows import FilePicture
from blip_serve.jobs.sinks.parquet import ParquetSink
from blip_serve.jobs.sources import parquet_file, parquet_pages
from blip_serve.jobs.sources.file_list import Files
from blip_serve.jobs.sources.parquet import Parquet
from blip_serve.jobs.sources.records import Columns, Records
from tests.jobs.sources.reading import error_of, rows_of, written
from tests.support.memory import memory_within
from tests.support.pictures import encoded, picture

MB = 1024 * 1024
PNG = encoded(picture(1))


def parquet(path: Path, columns: dict[str, Any], records: Records | None = None, **options: Any) -> Parquet:
    """A file of these columns, as a source."""
    pq.write_table(pa.table(columns), path, **options)
    return Parquet(Files((str(path),)), records or Records())


def test_rows_of_many_groups_are_cut_and_keyed_by_their_number(tmp_path: Path) -> None:
    source = parquet(tmp_path / "x.parquet", {"n": list(range(1000))}, row_group_size=300)
    assert [(cut.start, cut.count) for cut in source.cuts(256)] == [
        (0, 256), (256, 44), (300, 256), (556, 44), (600, 256), (856, 44), (900, 100),
    ]  # fmt: skip
    rows = rows_of(source)
    assert [row.fields["n"] for row in rows] == list(range(1000))
    assert [row.key for row in rows[299:302]] == ["x.parquet:299", "x.parquet:300", "x.parquet:301"]
    assert source.count() == 1000


def test_cuts_are_read_in_any_order(tmp_path: Path) -> None:
    source = parquet(tmp_path / "x.parquet", {"n": list(range(1000))})
    cuts = list(source.cuts(100))
    for at in (0, 1, 5, 6, 2, 2, 3, 9):
        assert [row.fields["n"] for row in source.rows(cuts[at])] == list(range(at * 100, at * 100 + 100))
    next(source.rows(cuts[4]))  # left in the middle
    assert [row.fields["n"] for row in source.rows(cuts[4])] == list(range(400, 500))


def test_cuts_in_sequence_read_a_row_group_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = parquet(tmp_path / "x.parquet", {"n": list(range(1000))})
    cuts = list(source.cuts(100))
    groups = []

    def counted(found: parquet_file.Opened, group: int, names: Sequence[str]) -> Iterator[Any]:
        groups.append(group)
        return parquet_file.batches_of(found, group, names)

    monkeypatch.setattr("blip_serve.jobs.sources.parquet.batches_of", counted)
    assert [row.fields["n"] for cut in cuts for row in source.rows(cut)] == list(range(1000))
    assert groups == [0]


def test_a_picture_is_bytes_a_struct_as_datasets_writes_a_path_or_a_url(tmp_path: Path) -> None:
    struct = pa.array([{"bytes": PNG, "path": "a.png"}, {"bytes": None, "path": "a.png"}, None])
    source = parquet(tmp_path / "a.parquet", {"image": struct, "n": [1, 2, 3], "mask": [b"x", b"x", None]})
    rows = rows_of(source)
    assert [row.picture for row in rows] == [BytesImage(PNG, "image"), FilePicture(str(tmp_path / "a.png")), None]
    assert [row.fields for row in rows] == [{"n": 1}, {"n": 2}, {"image": None, "n": 3}]
    assert source.columns() == {"n": "integer"}
    source = parquet(tmp_path / "b.parquet", {"jpg": [PNG, b""], "image": ["https://example.com/x.png", "y.png"]})
    assert [row.picture for row in rows_of(source)] == [
        UrlImage("https://example.com/x.png", "image"),
        FilePicture(str(tmp_path / "y.png")),
    ]
    rows = rows_of(Parquet(source.files, Records(Columns(picture="jpg"))))
    assert rows[0].picture == BytesImage(PNG, "jpg")
    assert rows[0].fields == {"image": "https://example.com/x.png"}


def test_columns_are_typed_by_the_schema_and_values_are_those_of_json(tmp_path: Path) -> None:
    source = parquet(
        tmp_path / "x.parquet",
        {
            "s": ["é"], "d": pa.array(["x"]).dictionary_encode(), "i": [1], "f": [float("nan")], "b": [True],
            "l": [["x", "y"]], "n": [[1.5]], "v": pa.array([[0.5, 1]], pa.list_(pa.float32())),
            "k": [[2**53 + 1]], "ts": [[datetime(2026, 1, 2)]], "e": [time(12)],
            "t": [datetime(2026, 1, 2)], "c": [Decimal("1.5")], "j": [{"a": [1, None], "b": b"x"}],
            "u": pa.array([2**63], pa.uint64()),
            "m": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        },
    )  # fmt: skip
    assert source.columns() == {
        "s": "string", "d": "string", "i": "integer", "f": "number", "b": "boolean", "l": "strings", "n": "numbers",
        "v": "vector", "k": "integers", "ts": "strings", "e": "string",
        "t": "string", "c": "string", "j": "json", "u": "json", "m": "json",
    }  # fmt: skip
    assert rows_of(source)[0].fields == {
        "s": "é", "d": "x", "i": 1, "f": None, "b": True, "l": ["x", "y"], "n": [1.5], "v": [0.5, 1.0],
        "k": [2**53 + 1], "ts": ["2026-01-02 00:00:00"], "e": "12:00:00",
        "t": "2026-01-02 00:00:00", "c": "1.5", "j": {"a": [1, None], "b": None}, "u": 2**63, "m": [["k", 1]],
    }  # fmt: skip


def test_the_column_key_is_the_key_and_no_field_unless_another_is_named(tmp_path: Path) -> None:
    source = parquet(tmp_path / "x.parquet", {"key": ["a", None], "id": [1, 2]})
    assert source.columns() == {"id": "integer"}
    assert [(row.key, row.fields) for row in rows_of(source)] == [("a", {"id": 1}), ("x.parquet:1", {"id": 2})]
    named = Parquet(source.files, Records(Columns(key="id")))
    assert named.columns() == {"key": "string", "id": "integer"}
    assert [(row.key, row.fields) for row in rows_of(named)] == [
        ("1", {"key": "a", "id": 1}),
        ("2", {"key": None, "id": 2}),
    ]


def test_what_a_run_wrote_keeps_its_columns_in_the_next(tmp_path: Path) -> None:
    source = parquet(tmp_path / "0.parquet", {"key": ["a", "b"], "caption": ["x", "y"]})
    for again in (1, 2):
        sink = ParquetSink(tmp_path / f"{again}.parquet", tmp_path / "parts", source.columns())
        part = sink.part("0")
        for row in rows_of(source):
            part.add(row, None, row.fields)
        part.commit()
        sink.join(["0"])
        source = Parquet(Files((str(tmp_path / f"{again}.parquet"),)), Records())
    assert pq.read_table(tmp_path / "2.parquet").to_pylist() == [
        {"key": "a", "caption": "x"},
        {"key": "b", "caption": "y"},
    ]


@pytest.mark.parametrize("data", [b"", b"PAR1", b"x" * 100, b"PAR1" + b"\xff" * 100 + b"\x08\0\0\0PAR1", None])
def test_a_file_that_is_no_parquet_is_one_error_row_and_the_next_is_read(tmp_path: Path, data: bytes | None) -> None:
    good = parquet(tmp_path / "good.parquet", {"n": [1]})
    bad = written(tmp_path / "bad.parquet", (tmp_path / "good.parquet").read_bytes()[:-1] if data is None else data)
    source = Parquet(Files((bad, *good.files.paths)), Records())
    rows = rows_of(source)
    assert error_of(rows[0])[0] == "invalid_parquet"
    assert error_of(rows[0])[1].startswith("bad.parquet:0: no Parquet")
    assert rows[1].fields == {"n": 1}
    assert source.columns() == {"n": "integer"}


def test_a_footer_over_the_bound_is_not_read(tmp_path: Path) -> None:
    size = parquet_file.MAX_FOOTER_BYTES + 1
    path = written(tmp_path / "x.parquet", b"PAR1" + bytes(size) + size.to_bytes(4, "little") + b"PAR1")
    (row,) = rows_of(Parquet(Files((path,)), Records()))
    assert "footer is larger" in error_of(row)[1]


def test_a_row_over_the_bound_is_an_error_and_its_neighbours_are_read(tmp_path: Path) -> None:
    source = parquet(
        tmp_path / "x.parquet", {"a": ["x", "y" * 5000, "z"], "l": [[1], [2], [0]]}, Records(max_row_bytes=1000)
    )
    rows = rows_of(source)
    assert [row.error is None for row in rows] == [True, False, True]
    assert error_of(rows[1]) == ("row_too_large", "x.parquet:1: the row holds more than 1000 bytes")


def test_damage_in_one_group_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    source = parquet(path, {"s": [f"text {n}" for n in range(30)]}, row_group_size=10, use_dictionary=False)
    about = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    data[about.data_page_offset : about.data_page_offset + 40] = b"\xff" * 40
    path.write_bytes(data)
    rows = rows_of(source)
    assert [row.error is None for row in rows] == [True] * 10 + [False] + [True] * 10
    assert [row.key for row in rows[9:12]] == ["x.parquet:9", "x.parquet:10", "x.parquet:20"]
    assert "row group 1 is damaged" in error_of(rows[10])[1]


def test_rows_that_no_file_of_this_size_holds_are_one_error_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = parquet(tmp_path / "x.parquet", {"n": [1] * 20_000}, row_group_size=1000)
    assert source.count() == 20_000
    monkeypatch.setattr(parquet_file, "MAX_SPARSE_ROWS", 1000)
    (row,) = rows_of(source)
    assert "20000 rows in" in error_of(row)[1]


def test_pages_without_number_are_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_pages, "MAX_PAGES", 3)
    columns = {"s": [f"text {n}" for n in range(5000)]}
    rows = rows_of(parquet(tmp_path / "x.parquet", columns, data_page_size=100, use_dictionary=False))
    assert all("more than 3 pages" in error_of(row)[1] for row in rows)


def dictionary(value: str, count: int) -> Any:
    """One value many times: a few bytes in a file."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array([value]))


@pytest.mark.parametrize("store_schema", [True, False])
def test_gigabytes_from_kilobytes_by_a_dictionary_are_never_expanded(tmp_path: Path, store_schema: bool) -> None:
    path = tmp_path / "x.parquet"
    column = dictionary("x" * (4 * MB), 1024)
    source = parquet(path, {"s": column}, compression="zstd", store_schema=store_schema)
    assert path.stat().st_size < 100_000  # for 4 GiB
    with memory_within(500 * MB):
        for row in source.rows(next(source.cuts(256))):
            assert len(row.fields["s"]) == 4 * MB


def test_a_list_of_gigabytes_from_kilobytes_is_not_read(tmp_path: Path) -> None:
    lists = pa.ListArray.from_arrays(pa.array([0, 5000], pa.int32()), dictionary("x" * MB, 5000))
    path = tmp_path / "x.parquet"
    source = parquet(path, {"l": lists}, compression="zstd", store_schema=False)
    assert path.stat().st_size < 100_000  # for 5 GiB in one row
    with memory_within(100 * MB):
        (row,) = rows_of(source)
    assert "the lists of column 0 may take" in error_of(row)[1]


def test_a_page_over_the_bound_is_not_unpacked_whatever_the_footer_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_pages, "MAX_PAGE_BYTES", MB)
    source = parquet(tmp_path / "x.parquet", {"s": ["x" * 2 * MB]}, compression="zstd", use_dictionary=False)
    (row,) = rows_of(source)
    assert "row group 0 is damaged or too large (a page holds more than" in error_of(row)[1]


def test_a_row_group_over_the_bound_is_one_error_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_file, "MAX_GROUP_BYTES", 10_000)
    columns = {"s": [f"{n:0100}" for n in range(300)], "mask": [bytes(1_000_000)] * 300}
    rows = rows_of(parquet(tmp_path / "x.parquet", columns, row_group_size=200))
    assert [error_of(row)[1] for row in rows] == [
        f"x.parquet:{at}: row group {group} is larger than 10000 bytes" for group, at in enumerate((0, 200))
    ]


def test_values_beyond_count_are_an_error(tmp_path: Path) -> None:
    rows = rows_of(parquet(tmp_path / "x.parquet", {"l": [[None] * 1_500_000, [None]]}))
    assert error_of(rows[0]) == ("row_too_large", "x.parquet:0: the row holds more than 1000000 values")
    assert rows[1].fields == {"l": [None]}


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "brotli", "zstd", "lz4"])
def test_lists_of_texts_are_read_with_every_codec(tmp_path: Path, codec: str, version: str) -> None:
    values = [[f"tag {n % 7}"] * (n % 4) for n in range(2000)]
    source = parquet(tmp_path / "x.parquet", {"l": values}, compression=codec, data_page_version=version)
    assert [row.fields["l"] for row in rows_of(source)] == values


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY", "PLAIN"])
def test_texts_are_read_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    values = [f"text {n}" for n in range(2000)]
    source = parquet(tmp_path / "x.parquet", {"s": values}, use_dictionary=False, column_encoding={"s": encoding})
    assert [row.fields["s"] for row in rows_of(source)] == values
