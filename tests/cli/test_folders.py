"""Folders of pictures, as the commands read them: by what files hold, not by their names."""

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from blip_serve.catalogue import EMBEDDED
from tests.images.samples import file_bytes
from tests.support.command import blip_serve

RED = EMBEDDED / "pictures" / "red-circle.png"
READ = ["IMG_0001.HEIC", "IMG_0002.HEIC", "a.jpg", "noname", "photo.jfif", "scan.tif"]
KINDS = {"noname": "PNG", "scan.tif": "TIFF", "IMG_0002.HEIC": "HEIC"}
"""The others are JPEGs whatever they are called."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One as cameras, scanners and macOS leave it."""
    found = tmp_path / "folder"
    found.mkdir()
    for name in READ:
        (found / name).write_bytes(file_bytes(Image.open(RED).convert("RGB"), KINDS.get(name, "JPEG")))
    (found / "._a.jpg").write_bytes(b"\x00\x05\x16\x07" + bytes(100))
    (found / "notes.png").write_text("no picture")
    (found / ".thumbnails").mkdir()
    (found / ".thumbnails" / "a.jpg").write_bytes((found / "a.jpg").read_bytes())
    os.mkfifo(found / "pipe.jpg")
    return found


def test_every_picture_is_captioned_and_what_is_passed_over_is_counted(folder: Path) -> None:
    done = blip_serve("caption", str(folder))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{folder / name}\ta large red circle" for name in READ]
    passed_over = dict(line.rpartition(": passed over ")[2].rsplit(": ", 1) for line in done.stderr.splitlines())
    assert passed_over == {
        "2, hidden": "._a.jpg, .thumbnails",
        "1, none of AVIF, BMP, GIF, HEIC, JPEG, PNG, TIFF, WEBP": "notes.png",
        "1, no file": "pipe.jpg",
    }


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["match", "--caption", "a large red circle"], "image"),
        (["embed"], "input"),
        (["rerank", "--query", "a large red circle"], "document"),
    ],
)
def test_the_other_commands_take_a_folder_of_more_than_a_request_may_hold(
    folder: Path, arguments: list[str], field: str
) -> None:
    done = blip_serve(arguments[0], str(folder), *arguments[1:], "--json", BLIP_SERVE_LIMITS__MAX_IMAGES="3")
    assert done.returncode == 0, done.stderr
    text = done.stdout if field != "input" else f"[{','.join(done.stdout.splitlines())}]"
    assert sorted(row[field] for row in json.loads(text)) == [str(folder / name) for name in READ]


def test_a_shortlist_of_many_requests_is_that_of_one(tmp_path: Path) -> None:
    arguments = ["rerank", str(RED.parent), "--query", "a green star", "--shortlist", "3", "--json"]
    together, apart = (
        json.loads(blip_serve(*arguments, BLIP_SERVE_LIMITS__MAX_IMAGES=at_once, BLIP_SERVE_DTYPE="float32").stdout)
        for at_once in ("64", "2")
    )
    assert len(together) == 3
    assert [row["document"] for row in apart] == [row["document"] for row in together]
    assert [row["index"] for row in apart] == [row["index"] for row in together]
    scores = [row["relevance_score"] for row in together]
    assert [row["relevance_score"] for row in apart] == pytest.approx(scores, rel=1e-5)  # batches round differently


def test_a_damaged_picture_is_told_and_the_others_go_on(folder: Path) -> None:
    bad = folder / "a.jpg"
    bad.write_bytes(bad.read_bytes()[:200])
    done = blip_serve("match", str(folder), "--caption", "a large red circle", "--json")
    assert done.returncode == 1
    assert [row["image"] for row in json.loads(done.stdout)] == [str(folder / name) for name in READ if name != "a.jpg"]
    assert f"blip-serve: {bad}: The file is not a readable image" in done.stderr


def test_a_picture_is_one_line_whatever_its_name(tmp_path: Path) -> None:
    names: list[str | bytes] = [b"\xff.png", "\x1b[2J.png", "a\ttab.png", "line\u2028.png", "two\nlines.png"]
    paths = sorted(tmp_path / os.fsdecode(name) for name in names)
    for path in paths:
        path.write_bytes(RED.read_bytes())
    lines = blip_serve("caption", str(tmp_path)).stdout.splitlines()
    assert [line.partition("\t")[2] for line in lines] == ["a large red circle"] * len(names)
    assert all(line.partition("\t")[0].isprintable() for line in lines)
    rows = [json.loads(line) for line in blip_serve("caption", str(tmp_path), "--json").stdout.splitlines()]
    assert rows == [{"image": str(path), "caption": "a large red circle"} for path in paths]


def test_a_folder_without_a_picture_is_refused_after_the_count(tmp_path: Path) -> None:
    (tmp_path / ".hidden.png").write_bytes(RED.read_bytes())
    done = blip_serve("caption", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "passed over 1, hidden: .hidden.png" in done.stderr
    assert "no pictures in this folder" in " ".join(done.stderr.replace("│", " ").split())
