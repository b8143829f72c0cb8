"""Tars that WebDataset reads."""

import gc
import json
import pickle
import tarfile
from pathlib import Path
from typing import Any

import pytest
import webdataset

from blip_serve.errors import InvalidInput
from blip_serve.images.reference import BytesImage
from blip_serve.jobs.rows import Row
from blip_serve.jobs.sinks.webdataset import WebDatasetSink
from tests.jobs.sinks.drawn import drawn


@pytest.fixture
def sink(tmp_path: Path) -> WebDatasetSink:
    return WebDatasetSink(tmp_path / "tars", "caption")


def write(sink: WebDatasetSink, name: str = "000017", first: int = 0) -> None:
    part = sink.part(name)
    part.add(Row(first, "../evil.jpg", {}), drawn("PNG"), {"caption": "ein Bär", "score": 0.1})
    part.add(Row(first + 1, "b", {}), drawn("JPEG"), {"caption": ["a cat", "two\ncats"]})
    part.add(Row(first + 2, "c", {}), drawn("WEBP"), {"caption": None})
    part.commit()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it closes no tar that it read
def test_webdataset_reads_the_samples(sink: WebDatasetSink) -> None:
    write(sink)
    write(sink, "000018", 3)
    sink.join(["000017", "000018"])
    tars = str(sink.folder / "{000017..000018}.tar")
    samples: list[Any] = list(webdataset.WebDataset(tars, shardshuffle=False).decode("pil"))
    gc.collect()
    assert [sample["__key__"] for sample in samples] == [f"{i:09d}" for i in range(6)]
    first, second, third = samples[:3]
    assert (first["txt"], first["json"]) == ("ein Bär", {"key": "../evil.jpg", "caption": "ein Bär", "score": 0.1})
    assert (first["png"].size, second["jpg"].size, third["webp"].size) == ((8, 6),) * 3
    assert second["txt"] == "a cat\ntwo cats"
    assert "txt" not in third


def test_its_headers_and_bytes_are_the_same_each_time(sink: WebDatasetSink) -> None:
    write(sink)
    before = (sink.folder / "000017.tar").read_bytes()
    write(sink)
    assert (sink.folder / "000017.tar").read_bytes() == before
    with tarfile.open(sink.folder / "000017.tar") as tar:
        members = tar.getmembers()
        data = tar.extractfile("000000000.png")
        assert data is not None
        assert data.read() == drawn("PNG").data
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}
    assert [m.name for m in members[:3]] == ["000000000.png", "000000000.txt", "000000000.json"]


@pytest.mark.parametrize(
    ("picture", "fields", "code"),
    [
        (BytesImage(b"%PDF-", "image"), {}, "unsupported_image_format"),
        (drawn(), {"caption": 1}, "column_type"),
        (drawn(), {"score": float("nan")}, "not_finite"),
    ],
)
def test_a_row_that_is_no_sample_is_refused_and_leaves_no_trace(
    sink: WebDatasetSink, picture: BytesImage | None, fields: dict[str, Any], code: str
) -> None:
    write(sink)
    part = sink.part("000018")
    for number in range(2):
        part.add(Row(number, "a", {}), drawn(), {})
        with pytest.raises(InvalidInput) as caught:
            part.add(Row(9, "b", {}), picture, fields)
        assert caught.value.code == code
    part.commit()
    with tarfile.open(sink.folder / "000018.tar") as tar:
        assert tar.getnames() == ["000000000.jpg", "000000000.json", "000000001.jpg", "000000001.json"]


def test_a_part_without_rows_is_no_tar(sink: WebDatasetSink) -> None:
    write(sink)
    sink.part("000017").commit()  # done again, and now all its rows were dropped
    assert list(sink.folder.iterdir()) == []


def test_discarded_and_interrupted_parts_leave_nothing(sink: WebDatasetSink) -> None:
    write(sink)
    part = sink.part("000018")
    part.add(Row(0, "a", {}), drawn(), {})
    part.discard()
    (sink.folder / ".000019.tar.tmp").touch()
    sink.clean(["000017", "000018", "000019"])
    assert [path.name for path in sink.folder.iterdir()] == ["000017.tar"]


def test_the_embedding_is_in_the_json_as_float32(sink: WebDatasetSink) -> None:
    part = WebDatasetSink(sink.folder, None, {"embedding": "vector"}).part("000000")
    part.add(Row(0, "a", {}), drawn(), {"caption": "not asked for", "embedding": [0.10000000149011612]})
    part.commit()
    with tarfile.open(sink.folder / "000000.tar") as tar:
        assert tar.getnames() == ["000000000.jpg", "000000000.json"]
        data = tar.extractfile("000000000.json")
        assert data is not None
        assert json.loads(data.read())["embedding"] == [0.100000001]


def test_it_can_be_sent_to_another_process(sink: WebDatasetSink) -> None:
    assert pickle.loads(pickle.dumps(sink)) == sink
    assert sink.needs_picture
    assert not sink.has(Row(0, "a", {}))
