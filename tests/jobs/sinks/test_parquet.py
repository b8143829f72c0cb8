"""Parquet: types are kept, nothing becomes null, row groups are bounded."""

import json
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from blip_serve.errors import InvalidInput
from blip_serve.jobs.rows import ColumnType, Row
from blip_serve.jobs.sinks import parquet
from blip_serve.jobs.sinks.parquet import ParquetSink
from tests.jobs.sinks.drawn import drawn

COLUMNS: Mapping[str, ColumnType] = {
    "caption": "string",
    "texts": "strings",
    "score": "number",
    "scores": "numbers",
    "embedding": "vector",
    "width": "integer",
    "ids": "integers",
    "kept": "boolean",
    "extra": "json",
}
FULL = {
    "caption": "ein Bär",
    "texts": ["a", "b"],
    "score": 0.1,
    "scores": [0.1, 2],
    "embedding": np.array([0.1, -3], np.float32).tolist(),
    "width": 2**62,
    "ids": [2**53 + 1, -1],
    "kept": True,
    "extra": {"a": [1, None]},
}


@pytest.fixture
def sink(tmp_path: Path) -> ParquetSink:
    return ParquetSink(tmp_path / "out.parquet", tmp_path / "out.parquet.bulk", dict(COLUMNS))


def write(sink: ParquetSink, rows: list[dict[str, Any]], name: str = "000000") -> None:
    part = sink.part(name)
    for number, fields in enumerate(rows):
        part.add(Row(number, f"{name}/{number}.jpg", {}), drawn(), fields)
    part.commit()


def joined(sink: ParquetSink, names: list[str] | None = None) -> Any:
    sink.join(iter(names or ["000000"]))
    return pq.read_table(sink.path)


def left(folder: Path) -> Iterator[str]:
    return (path.name for path in sorted(folder.iterdir()))


def test_values_read_back_under_fixed_types(sink: ParquetSink) -> None:
    write(sink, [FULL, {}, {"embedding": [], "texts": []}])
    table = joined(sink)
    assert table.schema.types == [
        pa.string(),
        pa.string(),
        pa.list_(pa.string()),
        pa.float64(),
        pa.list_(pa.float64()),
        pa.list_(pa.float32()),
        pa.int64(),
        pa.list_(pa.int64()),
        pa.bool_(),
        pa.string(),
    ]
    full, none, empty = table.to_pylist()
    assert full == FULL | {"key": "000000/0.jpg", "extra": '{"a": [1, null]}'}
    assert none == dict.fromkeys(COLUMNS) | {"key": "000000/1.jpg"}
    assert (empty["embedding"], empty["texts"]) == ([], [])


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("caption", 1),
        ("caption", b"a"),
        ("caption", "\ud800"),
        ("texts", "abc"),
        ("texts", ["a", 1]),
        ("score", "1"),
        ("score", True),
        ("score", 10**400),
        ("scores", [1.0, None]),
        ("embedding", [1.0, None]),
        ("embedding", ["1"]),
        ("embedding", 1.0),
        ("width", 1.5),
        ("width", True),
        ("width", 2**63),
        ("ids", [1, 1.5]),
        ("ids", [2**63]),
        ("kept", 1),
        ("extra", b"a"),
        ("unknown", 1),
    ],
)
def test_a_value_that_does_not_fit_is_refused_and_its_neighbours_are_written(
    sink: ParquetSink, column: str, value: Any
) -> None:
    part = sink.part("000000")
    part.add(Row(0, "a", {}), None, FULL)
    with pytest.raises(InvalidInput, match=column) as caught:
        part.add(Row(1, "b", {}), None, FULL | {column: value})
    part.add(Row(2, "c", {}), None, FULL)
    part.commit()
    assert (caught.value.code, caught.value.param) == ("column_type", column)
    assert joined(sink)["key"].to_pylist() == ["a", "c"]


def test_a_key_that_is_not_utf_8_is_refused(sink: ParquetSink) -> None:
    part = sink.part("000000")
    with pytest.raises(InvalidInput, match="key"):
        part.add(Row(0, "caf\udce9", {}), None, {})
    part.discard()


def test_the_names_that_the_sink_writes_are_its_own(sink: ParquetSink) -> None:
    sink = replace(sink, columns={"key": "integer", "image": "string"}, pictures=True)
    write(sink, [{"key": 7, "image": "a.jpg"}])
    (row,) = joined(sink).to_pylist()
    assert row == {
        "key": "000000/0.jpg",
        "source_key": 7,
        "source_image": "a.jpg",
        "image": {"bytes": drawn().data, "path": "0.jpg"},
    }


def test_a_column_is_written_under_one_name_in_all_rows(sink: ParquetSink) -> None:
    sink = replace(sink, columns={"key": "integer", "source_key": "string"})
    write(sink, [{"key": 7}, {"source_key": "a"}, {"key": 8, "source_key": "b"}])
    table = joined(sink)
    assert table["source_source_key"].to_pylist() == [7, None, 8]
    assert table["source_key"].to_pylist() == [None, "a", "b"]


def test_the_pictures_are_a_feature_that_datasets_knows(sink: ParquetSink) -> None:
    sink = replace(sink, pictures=True)
    write(sink, [FULL])
    told = json.loads(joined(sink).schema.metadata[b"huggingface"])["info"]["features"]
    assert list(told) == ["key", *COLUMNS, "image"]
    assert told["image"] == {"_type": "Image"}
    assert sink.needs_picture


def test_row_groups_are_bounded_by_rows_and_bytes_and_kept(sink: ParquetSink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_GROUP_ROWS", 3)
    write(sink, [FULL] * 7)
    monkeypatch.setattr(parquet, "_GROUP_ROWS", 1000)
    monkeypatch.setattr(parquet, "_GROUP_BYTES", 2000)
    write(sink, [{"caption": "x" * 900}] * 4, "000001")
    write(sink, [], "000002")
    table = joined(sink, ["000000", "000001", "000002"])
    metadata = pq.ParquetFile(sink.path).metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [3, 3, 1, 3, 1]
    assert table["key"].to_pylist() == [f"00000{p}/{i}.jpg" for p, n in ((0, 7), (1, 4)) for i in range(n)]


def test_the_same_rows_are_the_same_bytes(sink: ParquetSink) -> None:
    assert sink.path is not None
    seen = set()
    for _ in range(2):
        write(sink, [FULL, {}])
        joined(sink)
        seen.add(sink.path.read_bytes())
    assert len(seen) == 1


def test_no_rows_are_a_file_with_columns(sink: ParquetSink) -> None:
    write(sink, [])
    table = joined(sink)
    assert (table.num_rows, table.column_names) == (0, ["key", *COLUMNS])


def test_a_folder_holds_the_parts_themselves(sink: ParquetSink, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    sink = replace(sink, path=None, parts=folder)
    for name, rows in (("000000", [FULL]), ("000001", [FULL]), ("000002", [])):
        write(sink, rows, name)
    write(sink, [], "000001")  # done again, and now all its rows were dropped
    (folder / ".part-000000.parquet.tmp").touch()
    names = ["000000", "000001", "000002"]
    sink.join(names)
    sink.clean(names)
    assert list(left(folder)) == ["part-000000.parquet"]


def test_parts_are_cleaned_and_a_discarded_one_leaves_nothing(sink: ParquetSink) -> None:
    write(sink, [FULL])
    part = sink.part("000001")
    part.add(Row(0, "a", {}), None, FULL)
    part.discard()
    assert list(left(sink.parts)) == ["part-000000.parquet"]
    sink.clean(["000000"])
    assert list(left(sink.parts)) == []


def test_a_missing_part_leaves_no_destination(sink: ParquetSink) -> None:
    assert sink.path is not None
    write(sink, [FULL])
    with pytest.raises(FileNotFoundError):
        sink.join(["000000", "000001"])
    assert list(left(sink.path.parent)) == ["out.parquet.bulk"]


def test_it_can_be_sent_to_another_process(sink: ParquetSink) -> None:
    assert pickle.loads(pickle.dumps(sink)) == sink
    assert not sink.needs_picture
    assert not sink.has(Row(0, "a", {}))
