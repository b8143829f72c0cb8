"""Folders of pictures as rows."""

import os
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from blip_serve.domain import ImageFormat
from blip_serve.jobs.rows import FilePicture
from blip_serve.jobs.sources.folder import Folder
from blip_serve.jobs.sources.walk import Found, walk
from tests.jobs.sources.reading import rows_of
from tests.support.pictures import encoded, picture

FORMATS: frozenset[ImageFormat] = frozenset({"PNG", "JPEG"})
PNG = encoded(picture(1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures in subfolders, and what systems and people leave beside them."""
    photos = tmp_path / "photos"
    for name in ("b.png", "a/2.png", "a/10.png", "a.jpg", "noname", ".hidden.png", ".git/x.png"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(PNG)
    (photos / "notes.png").write_text("no picture")
    (tmp_path / "secret.png").write_bytes(PNG)
    (photos / "inside.png").symlink_to(photos / "b.png")
    (photos / "outside.png").symlink_to(tmp_path / "secret.png")
    (photos / "gone.png").symlink_to(photos / "never.png")
    (photos / "around").symlink_to(photos)
    os.mkfifo(photos / "pipe.png")
    return photos


def test_rows_are_the_pictures_by_content_sorted_by_name(folder: Path) -> None:
    rows = rows_of(Folder((str(folder),), FORMATS), 2)
    assert [row.key for row in rows] == ["a/10.png", "a/2.png", "a.jpg", "b.png", "inside.png", "noname"]
    assert rows[0].picture == FilePicture(str(folder / "a" / "10.png"))
    assert rows[0].fields == {"file_name": "a/10.png"}


def test_what_is_passed_over_is_counted_by_reason(folder: Path) -> None:
    for name in ("1.txt", "2.txt", "3.txt"):
        (folder / name).write_text("no picture")
    assert sorted(Folder((str(folder),), FORMATS).passed_over()) == [
        "passed over 1, link to a folder: around",
        "passed over 1, link to elsewhere: outside.png",
        "passed over 2, hidden: .git, .hidden.png",
        "passed over 2, no file: gone.png, pipe.png",
        "passed over 4, none of JPEG, PNG: 1.txt, 2.txt, 3.txt, ...",
    ]


def test_a_folder_that_has_changed_is_another_source(folder: Path) -> None:
    def identity() -> Mapping[str, str]:
        return Folder((str(folder),), FORMATS).identity()

    before = identity()
    assert identity() == before
    (folder / "new.png").write_bytes(PNG)
    with_new = identity()
    (folder / "new.png").write_bytes(PNG + b"\0")  # another picture under the same name
    assert len({str(each) for each in (before, with_new, identity())}) == 3


def test_a_folder_is_looked_through_once_however_much_is_asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walks = []

    def counted(*about: Any) -> Iterator[Found]:
        walks.append(about)
        return walk(*about)

    monkeypatch.setattr("blip_serve.jobs.sources.folder.walk", counted)
    source = Folder((str(folder),), FORMATS)
    told = source.count(), source.identity(), source.passed_over()
    source = pickle.loads(pickle.dumps(source))
    assert (source.count(), source.identity(), source.passed_over()) == told
    assert len(walks) == 1
    assert len(rows_of(source)) == source.count() == 6


def test_keys_of_several_folders_are_below_the_folder_that_they_share(folder: Path) -> None:
    other = folder.parent / "other"
    other.mkdir()
    (other / "b.png").write_bytes(PNG)
    rows = rows_of(Folder((str(folder / "a"), str(other), str(folder / "b.png")), FORMATS))
    assert [row.key for row in rows] == ["photos/a/10.png", "photos/a/2.png", "other/b.png", "photos/b.png"]
    assert [row.picture for row in rows][1:3] == [
        FilePicture(str(folder / "a/2.png")),
        FilePicture(str(other / "b.png")),
    ]
