"""JSON lines."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blip_serve.errors import InvalidInput
from blip_serve.jobs.rows import Row
from blip_serve.jobs.sinks.jsonl import JsonlSink


@pytest.fixture
def sink(tmp_path: Path) -> JsonlSink:
    return JsonlSink(tmp_path / "out.jsonl", tmp_path / "out.jsonl.bulk", {"embedding": "vector"})


def written(sink: JsonlSink, fields: dict[str, Any], key: str = "a.jpg") -> str:
    """The line of one row."""
    part = sink.part("000000")
    part.add(Row(0, key, {}), None, fields)
    part.commit()
    sink.join(["000000"])
    return sink.path.read_text()


def test_the_key_stands_first_and_the_fields_keep_their_order(sink: JsonlSink) -> None:
    line = written(sink, {"z": "ein Bär", "a": [1, None, {"b": True}]})
    assert line == '{"key": "a.jpg", "z": "ein Bär", "a": [1, null, {"b": true}]}\n'


def test_a_column_named_key_is_kept_under_another_name(sink: JsonlSink) -> None:
    assert json.loads(written(sink, {"key": "k", "source_key": 1})) == {
        "key": "a.jpg",
        "source_source_key": "k",
        "source_key": 1,
    }


def test_numbers_read_back_as_they_were(sink: JsonlSink) -> None:
    numbers = np.random.default_rng(0).standard_normal(1000)
    vector = [*numbers.astype(np.float32).tolist(), 1e-45, 3.4028235e38, -0.0, 1.0]
    line = written(sink, {"score": numbers[0], "scores": numbers.tolist(), "embedding": vector})
    read = json.loads(line)
    assert (read["score"], read["scores"]) == (numbers[0], numbers.tolist())
    assert np.array_equal(np.array(read["embedding"], np.float32), np.array(vector, np.float32))
    assert len(line.partition('"embedding": ')[2]) < 14 * len(vector)  # not the digits of float64


def test_a_row_without_its_vector_has_null(sink: JsonlSink) -> None:
    assert json.loads(written(sink, {"embedding": None}))["embedding"] is None


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"a": 1, "score": float("nan")}, "not_finite", "score"),
        ({"scores": [1.0, float("inf")]}, "not_finite", "scores"),
        ({"embedding": [1.0, float("-inf")]}, "not_finite", "embedding"),
        ({"embedding": ["a"]}, "column_type", "embedding"),
        ({"embedding": 1.0}, "column_type", "embedding"),
        ({"raw": b"\0"}, "column_type", "raw"),
    ],
)
def test_what_json_cannot_hold_is_refused_and_the_part_is_as_before(
    sink: JsonlSink, fields: dict[str, Any], code: str, param: str
) -> None:
    part = sink.part("000000")
    part.add(Row(0, "a", {}), None, {})
    with pytest.raises(InvalidInput) as caught:
        part.add(Row(1, "b", {}), None, fields)
    part.commit()
    assert (caught.value.code, caught.value.param) == (code, param)
    sink.join(["000000"])
    assert sink.path.read_text() == '{"key": "a"}\n'


def test_a_key_that_is_not_utf_8_reads_back(sink: JsonlSink) -> None:
    line = written(sink, {"caption": "ä"}, key="caf\udce9.jpg")
    assert json.loads(line) == {"key": "caf\udce9.jpg", "caption": "ä"}
    assert line.isascii()


def test_parts_are_joined_in_order_and_again_and_cleaned_at_the_end(sink: JsonlSink) -> None:
    names = ["000000", "000001", "000001-1"]
    for name in reversed(names):
        part = sink.part(name)
        part.add(Row(0, name, {}), None, {})
        part.commit()
    for _ in range(2):
        sink.join(iter(names))
        assert [json.loads(line)["key"] for line in sink.path.read_text().splitlines()] == names
    sink.clean(names)
    assert list(sink.parts.iterdir()) == []


def test_a_missing_part_leaves_the_destination_as_it_was(sink: JsonlSink) -> None:
    sink.path.write_text("before\n")
    sink.part("000000").commit()
    with pytest.raises(FileNotFoundError):
        sink.join(["000000", "000001"])
    assert sink.path.read_text() == "before\n"
    assert sorted(path.name for path in sink.path.parent.iterdir()) == ["out.jsonl", "out.jsonl.bulk"]


def test_a_discarded_part_leaves_nothing_and_an_interrupted_one_is_replaced(sink: JsonlSink) -> None:
    interrupted = sink.part("000000")
    interrupted.add(Row(0, "old", {}), None, {})
    part = sink.part("000000")
    part.add(Row(0, "new", {}), None, {})
    part.commit()
    interrupted.discard()
    assert [path.name for path in sink.parts.iterdir()] == ["000000.jsonl"]
    sink.part("000001").discard()
    assert [path.read_text() for path in sink.parts.iterdir()] == ['{"key": "new"}\n']


def test_it_can_be_sent_to_another_process(sink: JsonlSink) -> None:
    assert pickle.loads(pickle.dumps(sink)) == sink
    assert not sink.needs_picture
    assert not sink.has(Row(0, "a", {}))
