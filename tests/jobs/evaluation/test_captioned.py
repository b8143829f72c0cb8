"""Pictures and texts of a bulk run's sources: text files beside pictures, and columns of tables."""

import json
from pathlib import Path
from typing import Any

import pytest

from blip_serve.errors import ConfigurationError
from blip_serve.jobs.evaluation.captioned import read_rows
from tests.support.pictures import encoded, picture


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two pictures; beside the first a text file."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(2):
        (folder / f"{number}.png").write_bytes(encoded(picture(number)))
    (folder / "0.txt").write_text("a dog\n\n two dogs \n")
    return folder


def table(folder: Path, *rows: dict[str, Any]) -> str:
    file = folder / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def test_in_a_folder_texts_are_the_lines_of_a_file_beside_each_picture(photos: Path) -> None:
    found = [(entry.name, entry.texts) for entry in read_rows(str(photos), None, "caption")]
    assert found == [("0.png", ("a dog", "two dogs")), ("1.png", ())]


def test_in_a_table_a_column_holds_a_text_or_a_list(photos: Path) -> None:
    data = table(photos, {"image": "0.png", "alt": "a dog"}, {"image": "1.png", "alt": ["a cat", "two cats"]})
    found = list(read_rows(data, None, "alt"))
    assert [entry.texts for entry in found] == [("a dog",), ("a cat", "two cats")]
    assert [entry.picture.path for entry in found] == [str(photos / "0.png"), str(photos / "1.png")]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"image": "0.png"}, r"pairs.jsonl:2: The column 'alt' is missing here. --text names another column."),
        ({"image": "0.png", "alt": []}, "is empty"),
        ({"image": "0.png", "alt": 3}, "a text is expected"),
        ({"image": "http://host/a.png", "alt": "a"}, "no picture's path"),
        ({"image": "../a.png", "alt": "a"}, "no picture's path"),
        ({"alt": "a"}, "no picture's path"),
    ],
)
def test_a_row_that_is_no_picture_with_texts_is_named(photos: Path, row: dict[str, Any], message: str) -> None:
    data = table(photos, {"image": "0.png", "alt": "a dog"}, row)
    with pytest.raises(ConfigurationError, match=message):
        list(read_rows(data, None, "alt"))


def test_a_text_file_is_bounded_and_utf_8(photos: Path) -> None:
    (photos / "1.txt").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match=r"1.txt: it is not UTF-8"):
        list(read_rows(str(photos), None, "caption"))
    (photos / "1.txt").write_bytes(b"a" * 65_537)
    with pytest.raises(ConfigurationError, match=r"1.txt: it is larger than 65,536 bytes"):
        list(read_rows(str(photos), None, "caption"))


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        list(read_rows(str(tmp_path / "nowhere"), None, "caption"))
