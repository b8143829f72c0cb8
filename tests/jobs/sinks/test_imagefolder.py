"""`metadata.jsonl` beside pictures, or with copies of them. `tests/clients` reads it with `datasets` itself."""

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blip_serve.errors import InvalidInput
from blip_serve.images.reference import BytesImage
from blip_serve.jobs.rows import FilePicture, Picture, Row
from blip_serve.jobs.sinks.imagefolder import ImageFolderSink
from tests.jobs.sinks.drawn import drawn


@pytest.fixture
def beside(tmp_path: Path) -> ImageFolderSink:
    return ImageFolderSink(tmp_path, tmp_path / ".bulk" / "parts", copy=False, columns={"extra": "json"})


@pytest.fixture
def copying(tmp_path: Path) -> ImageFolderSink:
    return ImageFolderSink(tmp_path / "set", tmp_path / "set" / ".bulk" / "parts", copy=True)


def lines(sink: ImageFolderSink) -> list[dict[str, Any]]:
    sink.join(["000000"])
    return [json.loads(line) for line in (sink.folder / "metadata.jsonl").read_text().splitlines()]


def test_pictures_are_named_relative_to_the_folder(beside: ImageFolderSink, tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "cats")
    part = beside.part("000000")
    part.add(Row(0, "a.jpg", {}, FilePicture(str(tmp_path / "a.jpg"))), None, {"caption": "a cat"})
    part.add(Row(1, "b", {}, FilePicture(str(tmp_path / "link" / "b.jpg"))), None, {"extra": {"a": 1}})
    part.commit()
    assert not beside.needs_picture
    assert lines(beside) == [
        {"file_name": "a.jpg", "key": "a.jpg", "caption": "a cat"},
        {"file_name": "cats/b.jpg", "key": "b", "extra": '{"a": 1}'},
    ]


@pytest.mark.parametrize(
    "picture",
    [None, BytesImage(b"", "image"), FilePicture("/elsewhere/a.jpg"), FilePicture("s3://bucket/a.jpg")],
)
def test_a_picture_elsewhere_is_refused(beside: ImageFolderSink, picture: Picture | None) -> None:
    part = beside.part("000000")
    with pytest.raises(InvalidInput) as caught:
        part.add(Row(0, "a", {}, picture), None, {})
    part.discard()
    assert caught.value.code == "picture_elsewhere"


def test_pictures_are_copied_under_their_rows_numbers(copying: ImageFolderSink) -> None:
    part = copying.part("000000")
    part.add(Row(0, "../x.jpg", {}), drawn("PNG"), {"caption": "a cat"})
    with pytest.raises(InvalidInput, match="score"):
        part.add(Row(2, "z", {}), drawn(), {"score": float("inf")})
    part.add(Row(3, "w", {}), drawn("JPEG"), {"caption": "two"})
    part.commit()
    assert [line["file_name"] for line in lines(copying)] == ["images/000000000.png", "images/000000003.jpg"]
    assert (copying.folder / "images" / "000000000.png").read_bytes() == drawn("PNG").data
    assert sorted(path.name for path in (copying.folder / "images").iterdir()) == ["000000000.png", "000000003.jpg"]
    copying.clean(["000000"])
    assert list(copying.parts.iterdir()) == []


def test_columns_that_datasets_would_take_for_pictures_have_other_names(copying: ImageFolderSink) -> None:
    part = copying.part("000000")
    part.add(Row(0, "a", {}), drawn(), {"file_name": 1, "filename": 2, "old_file_names": 3, "key": 4})
    part.commit()
    assert lines(copying) == [
        {
            "file_name": "images/000000000.jpg",
            "key": "a",
            "source_filename": 1,
            "filename": 2,
            "old_filenames": 3,
            "source_key": 4,
        }
    ]


def test_a_column_is_written_under_one_name_in_all_rows(copying: ImageFolderSink) -> None:
    sink = replace(copying, columns={"file_name": "string", "filename": "string"})
    part = sink.part("000000")
    for number, fields in enumerate([{"file_name": "a"}, {"filename": "b"}]):
        part.add(Row(number, "k", {}), drawn(), fields)
    part.commit()
    assert [sorted(line.keys() - {"file_name", "key"}) for line in lines(sink)] == [["source_filename"], ["filename"]]


def test_a_discarded_part_leaves_no_picture(copying: ImageFolderSink) -> None:
    part = copying.part("000000")
    part.add(Row(0, "a", {}), drawn(), {})
    part.discard()
    assert list((copying.folder / "images").iterdir()) == []


def test_they_can_be_sent_to_another_process(copying: ImageFolderSink, beside: ImageFolderSink) -> None:
    assert pickle.loads(pickle.dumps((copying, beside))) == (copying, beside)
    assert copying.needs_picture
    assert not copying.has(Row(0, "a", {}))
