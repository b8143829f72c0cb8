"""What the tests of interrupted runs share: rows, every sink, and what a run left."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from blip_serve.jobs.rows import STATE
from tests.support.pictures import encoded


@dataclass(frozen=True)
class To:
    """A kind of destination: its name in the test's folder, and the options that choose it."""

    name: str
    options: tuple[str, ...] = ()


EVERY = {
    "jsonl": To("out.jsonl"),
    "parquet file": To("out.parquet"),
    "parquet folder": To("table", ("--as", "parquet")),
    "webdataset": To("tars", ("--as", "webdataset")),
    "sidecar": To("texts", ("--as", "sidecar")),
    "imagefolder of copies": To("copies", ("--as", "imagefolder")),
    "imagefolder in place": To("photos/metadata.jsonl"),
}


def make_photos(folder: Path, count: int) -> Path:
    """So many small pictures, all different."""
    folder.mkdir(parents=True)
    for number in range(count):
        colour = (number % 256, number // 256, 100)
        (folder / f"{number:05d}.png").write_bytes(encoded(Image.new("RGB", (4, 4), colour)))
    return folder


def arguments(to: To, root: Path, more: Sequence[str] = ()) -> list[str]:
    """Those of a run that captions the photos below `root`."""
    return ["caption", str(root / "photos"), "--to", str(root / to.name), "--max-tokens", "2", *to.options, *more]


def results(to: To, root: Path) -> dict[str, bytes]:
    """All that a run wrote, but for its state: files by name. Fails where something half written was left."""
    place = root / to.name
    files = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
    found = {
        str(path.relative_to(root)): path.read_bytes()
        for path in files
        if not any(part.startswith(STATE) for part in path.parts)
    }
    assert not [name for name in found if name.endswith(".tmp")]
    rejects = list(root.glob("*.rejects.jsonl"))
    return found | {path.name: path.read_bytes() for path in rejects}
