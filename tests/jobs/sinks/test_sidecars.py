"""Sidecars: which file a row's text goes to, what is in it, and what never becomes of it."""

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blip_serve.errors import InvalidInput
from blip_serve.jobs.rows import Row
from blip_serve.jobs.sinks.claims import Claims
from blip_serve.jobs.sinks.sidecars import SidecarSink


@pytest.fixture
def sink(tmp_path: Path) -> SidecarSink:
    folder = tmp_path / "photos"
    folder.mkdir()
    return SidecarSink(folder, Claims(folder / ".bulk" / "claims.sqlite", folder / ".bulk" / "claims"), "caption")


def write(sink: SidecarSink, texts: dict[str, Any], name: str = "000000", start: int = 0) -> None:
    part = sink.part(name)
    for number, (key, text) in enumerate(texts.items(), start):
        part.add(Row(number, key, {}), None, {"caption": text, "other": 1})
    part.commit()


def refused(sink: SidecarSink, key: str, text: Any = "a dog") -> InvalidInput:
    """How a row is refused, after one that is not."""
    part = sink.part("000009")
    part.add(Row(90, "good.jpg", {}), None, {"caption": "good"})
    with pytest.raises(InvalidInput) as caught:
        part.add(Row(91, key, {}), None, {"caption": text})
    part.commit()
    return caught.value


def files(folder: Path) -> Iterator[str]:
    """All files below a folder, but for the state."""
    return (str(p.relative_to(folder)) for p in sorted(folder.rglob("*")) if p.is_file() and ".bulk" not in p.parts)


def as_kohya_reads(picture: Path, extension: str = ".txt") -> str:
    """`read_caption` of kohya's sd-scripts: UTF-8, the first line; a file without a line is an error."""
    with picture.with_suffix(extension).open("rt", encoding="utf-8") as file:
        lines = file.readlines()
    assert len(lines) > 0
    return lines[0].strip()


def test_a_trainer_finds_the_text_beside_the_picture(sink: SidecarSink) -> None:
    write(sink, {"10_ohwx cat/photo.jpg": "a cat\non a mat", "10_ohwx cat/b.v2.JPEG": "ein Bär", "c.png": ""})
    folder = sink.folder / "10_ohwx cat"
    assert as_kohya_reads(folder / "photo.jpg") == "a cat on a mat"
    assert as_kohya_reads(folder / "b.v2.JPEG") == "ein Bär"
    assert as_kohya_reads(sink.folder / "c.png") == ""


def test_trigger_words_and_extension_are_those_asked_for(sink: SidecarSink) -> None:
    write(replace(sink, prefix="ohwx, ", suffix=", photo", extension=".caption"), {"a.jpg": ["a dog", "a\tcat "]})
    assert (sink.folder / "a.caption").read_text() == "ohwx, a dog, photo\nohwx, a cat, photo\n"


@pytest.mark.parametrize(
    ("key", "file"),
    [
        ("pairs.jsonl:17", "pairs.jsonl:17.txt"),
        ("shard.tar/000123", "shard.tar/000123.txt"),
        (".jpg", ".jpg.txt"),
        ("ab\\c.png", "ab\\c.txt"),
        ("caf\udce9.jpg", "caf\udce9.txt"),
    ],
)
def test_any_source_has_a_file_a_row(sink: SidecarSink, key: str, file: str) -> None:
    write(sink, {key: "a dog"})
    assert list(files(sink.folder)) == [file]


@pytest.mark.parametrize(
    "key",
    [
        "../a.jpg",
        "b/../../a.jpg",
        "/etc/a.jpg",
        "a//b.jpg",
        "./a.jpg",
        "",
        "..",
        "a\0.jpg",
        "b/",
        "x" * 252 + ".jpg",
        "/".join(["y" * 200] * 30) + ".jpg",
        "notes.txt",
        ".bulk/manifest.jpg",
        ".BULK/manifest.jpg",
        ".bulk-00001-of-00002/a.jpg",
        "set/.bulk/a.jpg",
        ".bulk.jpg",
        "state/a.jpg",
    ],
)
def test_a_key_that_leads_elsewhere_is_refused_and_its_neighbour_written(sink: SidecarSink, key: str) -> None:
    (sink.folder / ".bulk").mkdir()
    (sink.folder / "state").symlink_to(".bulk")
    error = refused(sink, key)
    assert (error.code, error.param) == ("invalid_path", "key")
    assert list(files(sink.folder.parent)) == ["photos/good.txt"]


def test_links_are_followed_inside_the_destination_only(sink: SidecarSink, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (sink.folder / "real").mkdir()
    (sink.folder / "out").symlink_to(tmp_path / "elsewhere")
    (sink.folder / "in").symlink_to(sink.folder / "real")
    (sink.folder / "dangling").symlink_to(tmp_path / "new")
    assert refused(sink, "out/a.jpg").code == "invalid_path"
    assert refused(sink, "dangling/deep/a.jpg").code == "invalid_path"
    write(sink, {"in/a.jpg": "a dog"})
    assert (sink.folder / "real" / "a.txt").read_text() == "a dog\n"
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert not (tmp_path / "new").exists()


def test_a_link_in_the_files_place_is_replaced_not_followed(sink: SidecarSink, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (sink.folder / "a.txt").symlink_to(tmp_path / "precious")
    (sink.folder / ".a.txt.tmp").symlink_to(tmp_path / "precious")
    write(sink, {"a.jpg": "a dog"})
    assert (tmp_path / "precious").read_text() == "precious"
    assert (sink.folder / "a.txt").read_text() == "a dog\n"


def test_a_file_where_a_folder_is_needed_fails_the_row(sink: SidecarSink) -> None:
    (sink.folder / "a").write_text("")
    (sink.folder / "b.txt").mkdir()
    assert refused(sink, "a/b/c.jpg").code == "invalid_path"
    assert refused(sink, "b.jpg").code == "invalid_path"


@pytest.mark.parametrize("text", [None, 1, ["a", 1], "\ud800"])
def test_what_is_no_text_is_refused(sink: SidecarSink, text: Any) -> None:
    assert refused(sink, "a.jpg", text).code == "column_type"
    assert list(files(sink.folder)) == ["good.txt"]


def test_the_second_picture_of_a_stem_fails_and_names_both(sink: SidecarSink) -> None:
    write(sink, {"d/a.jpg": "first"})
    write(sink, {"d/a.jpg": "first, done again"}, "000001")
    error = refused(sink, "d/a.png")
    assert error.code == "same_sidecar"
    assert "d/a.jpg" in error.message
    assert "d/a.png" in error.message
    assert (sink.folder / "d" / "a.txt").read_text() == "first, done again\n"


def test_the_second_row_with_a_key_fails_and_names_both(sink: SidecarSink) -> None:
    write(sink, {"a.jpg": "first"}, start=7)
    error = refused(sink, "a.jpg")
    assert error.code == "same_sidecar"
    assert "'a.jpg' (row 91) and 'a.jpg' (row 7)" in error.message
    assert (sink.folder / "a.txt").read_text() == "first\n"


def shard(sink: SidecarSink, index: int, source: str = "s") -> SidecarSink:
    """The sink of one shard."""
    return replace(sink, claims=replace(sink.claims, mark=sink.folder / f".bulk-{index}" / "claims", source=source))


def begin_anew(sink: SidecarSink) -> None:
    """What a manifest does."""
    sink.claims.mark.unlink()


def test_pictures_of_one_stem_in_two_shards_are_told(sink: SidecarSink) -> None:
    write(shard(sink, 1), {"a.jpg": "first"})
    write(shard(sink, 2), {"b.jpg": "another"}, start=5)
    assert not shard(sink, 2).has(Row(6, "a.png", {}))
    assert refused(shard(sink, 2), "a.png").code == "same_sidecar"
    assert (sink.folder / "a.txt").read_text() == "first\n"


def test_sidecars_of_an_earlier_run_of_shards_are_left_or_overwritten_as_asked(sink: SidecarSink) -> None:
    write(shard(sink, 1), {"b.jpg": "old"})
    write(shard(sink, 2), {"c.jpg": "old"}, start=1)
    first, second = shard(sink, 1, "with a.jpg"), shard(sink, 2, "with a.jpg")
    begin_anew(first)  # a.jpg is new, so b.jpg is row 1 and c.jpg is row 2; the other shard has not begun yet
    write(first, {"a.jpg": "new"})
    assert first.has(Row(1, "b.jpg", {}))
    assert second.has(Row(2, "c.jpg", {}))
    begin_anew(second)
    assert second.has(Row(2, "c.jpg", {}))
    write(replace(second, existing="overwrite"), {"b.jpg": "new", "c.jpg": "new"}, start=1)
    assert [(sink.folder / f"{name}.txt").read_text() for name in "abc"] == ["new\n"] * 3


def test_sidecars_of_a_run_with_other_options_are_those_of_an_earlier_one(sink: SidecarSink) -> None:
    write(sink, {"a.jpg": "old"})
    assert not sink.has(Row(0, "a.jpg", {}))
    begin_anew(sink)
    assert sink.has(Row(0, "a.jpg", {}))
    write(sink, {"b.jpg": "new"}, start=1)
    assert sink.has(Row(0, "a.jpg", {}))


def test_notes_that_are_damaged_are_named(sink: SidecarSink) -> None:
    write(sink, {"a.jpg": "first"})
    sink.claims.path.write_bytes(b"x" * 8192)
    with pytest.raises(OSError, match=r"claims\.sqlite"):
        sink.part("000001")
    with pytest.raises(OSError, match=r"claims\.sqlite"):
        sink.has(Row(0, "a.jpg", {}))


def test_files_from_before_the_run_are_left_if_asked(sink: SidecarSink) -> None:
    (sink.folder / "a.txt").write_text("by hand")
    assert sink.has(Row(0, "a.jpg", {}))
    assert not sink.has(Row(0, "b.jpg", {}))
    assert not replace(sink, existing="overwrite").has(Row(0, "a.jpg", {}))
    assert not sink.has(Row(0, "../a.jpg", {}))


def test_files_of_an_interrupted_commit_are_not_taken_for_older_ones(sink: SidecarSink) -> None:
    (sink.folder / "a.txt").write_text("by hand")
    write(sink, {"b.jpg": "a dog"}, start=1)
    assert sink.has(Row(0, "a.jpg", {}))
    assert not sink.has(Row(1, "b.jpg", {}))


def test_a_discarded_part_writes_nothing(sink: SidecarSink) -> None:
    part = sink.part("000000")
    part.add(Row(0, "new/a.jpg", {}), None, {"caption": "a dog"})
    part.discard()
    assert list(files(sink.folder)) == []
    assert not (sink.folder / "new").exists()


def test_it_can_be_sent_to_another_process(sink: SidecarSink) -> None:
    assert pickle.loads(pickle.dumps(sink)) == sink
    assert not sink.needs_picture
