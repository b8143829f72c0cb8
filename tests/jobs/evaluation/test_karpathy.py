"""Karpathy's split is read in both shapes; what is wrong with a file is said by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from blip_serve.errors import ConfigurationError
from blip_serve.jobs.evaluation.karpathy import read_entries

BLIP = [
    {"image": "val2014/b.jpg", "caption": ["a dog.", "Two dogs"]},
    {"image": "val2014/a.jpg", "caption": ["a cat"], "image_id": 7},
]
KARPATHY: dict[str, Any] = {
    "dataset": "coco",
    "images": [
        {
            "filename": name,
            "filepath": "val2014",
            "split": split,
            "sentences": [{"raw": raw, "tokens": raw.split()} for raw in texts],
            "cocoid": 7,
        }
        for name, split, texts in [
            ("c.jpg", "train", ["a bus"]),
            ("b.jpg", "test", ["a dog.", "Two dogs"]),
            ("a.jpg", "test", ["a cat"]),
            ("d.jpg", "val", ["a boat"]),
        ]
    ],
}


def written(folder: Path, content: Any) -> Path:
    file = folder / "data.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


@pytest.mark.parametrize("content", [BLIP, KARPATHY], ids=["BLIP's", "Karpathy's"])
def test_both_shapes_hold_the_same_pictures_and_texts_in_order(tmp_path: Path, content: Any) -> None:
    found = read_entries(written(tmp_path, content), None, "test")
    assert [(entry.name, entry.texts) for entry in found] == [
        ("val2014/b.jpg", ("a dog.", "Two dogs")),
        ("val2014/a.jpg", ("a cat",)),
    ]
    assert [entry.picture.path for entry in found] == [str(tmp_path / f"val2014/{name}.jpg") for name in "ba"]


def test_pictures_are_below_the_folder_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    [first, _] = read_entries(written(tmp_path, BLIP), tmp_path / "pictures", "test")
    assert first.picture.path == str(tmp_path / "pictures" / "val2014" / "b.jpg")


def test_flickr30k_has_no_folders_and_another_split_may_be_chosen(tmp_path: Path) -> None:
    images = [{key: value for key, value in image.items() if key != "filepath"} for image in KARPATHY["images"]]
    [found] = read_entries(written(tmp_path, {"images": images}), None, "val")
    assert (found.name, found.texts) == ("d.jpg", ("a boat",))
    with pytest.raises(ConfigurationError, match="no pictures of the split 'restval'; --split names another"):
        read_entries(written(tmp_path, {"images": images}), None, "restval")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "Invalid JSON"),
        ('{"image": 3}', "images: Field required"),
        ([{"image": "a.jpg", "caption": ["a"]}, {"image": "b.jpg"}], r"1.caption: Field required"),
        ([{"image": "a.jpg", "caption": "a"}], r"0.caption: Input should be a valid array"),
        ([{"image": "../a.jpg", "caption": ["a"]}], r"'../a.jpg' is no picture's path below"),
        ([{"image": "/etc/passwd", "caption": ["a"]}], r"'/etc/passwd' is no picture's path below"),
        ([{"image": "http://host/a.jpg", "caption": ["a"]}], r"'http://host/a.jpg' is no picture's path below"),
        ("[" * 100_000, "recursion limit"),
    ],
)
def test_a_file_of_another_shape_is_refused_with_the_place(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as found:
        read_entries(written(tmp_path, content), None, "test")
    assert "data.json: " in str(found.value)
    assert len(str(found.value)) < 400 + len(str(tmp_path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"data.json: No such file"):
        read_entries(tmp_path / "data.json", None, "test")
