"""Sidecars of a run in shards, which share a folder."""

from pathlib import Path

from tests.jobs.durability import EVERY, arguments, make_photos
from tests.support.fake_bulk import Ended, fake_bulk

TO = EVERY["sidecar"]
CUT = 256


def run(root: Path, shard: int, *more: str) -> Ended:
    """One of two shards."""
    return fake_bulk(arguments(TO, root, ["--shard", f"{shard}/2", *more]))


def test_pictures_of_one_stem_in_two_shards_are_told_and_new_pictures_leave_old_texts(tmp_path: Path) -> None:
    photos, texts = make_photos(tmp_path / "photos", CUT + 1), tmp_path / TO.name
    last = f"{CUT - 1:05d}"
    (photos / f"{last}.webp").write_bytes((photos / "00000.png").read_bytes())
    assert run(tmp_path, 1).code == 0
    second = run(tmp_path, 2)
    assert second.code == 1
    assert f"'{last}.webp' (row {CUT}) and '{last}.png' (row {CUT - 1}) have the same sidecar" in second.said
    (photos / f"{last}.webp").unlink()
    for text in texts.glob("*.txt"):
        text.write_text("by hand")
    (photos / "-1.png").write_bytes((photos / "00000.png").read_bytes())  # all rows have other numbers now
    assert [run(tmp_path, shard).code for shard in (1, 2)] == [0, 0]
    found = {text.stem: text.read_text() == "by hand" for text in texts.glob("*.txt")}
    assert (len(found), [stem for stem, old in found.items() if not old]) == (CUT + 2, ["-1"])
