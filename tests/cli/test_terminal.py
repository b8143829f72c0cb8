"""`blip-serve` in a terminal: what is left on the screen."""

import shutil
from pathlib import Path

from blip_serve.catalogue import EMBEDDED
from tests.support.terminal import screen_of

PICTURES = EMBEDDED / "pictures"
RED = str(PICTURES / "red-circle.png")


def test_nothing_of_the_load_stays_above_a_table() -> None:
    lines = screen_of("match", RED, "--caption", "a large red circle", columns=200)
    assert lines[0] == "blip-serve/demo-retrieval (hf)"
    assert lines[1].startswith("┏")
    assert not any("loading" in line or "%|" in line for line in lines)


def test_nothing_of_the_bars_stays_between_captions(tmp_path: Path) -> None:
    for name in ("red-circle.png", "pink-star.png"):
        shutil.copy(PICTURES / name, tmp_path)
    lines = screen_of("caption", str(tmp_path), columns=200)
    texts = [line.removeprefix(f"{tmp_path}/").split(maxsplit=1) for line in lines]
    assert texts == [["pink-star.png", "a small pink star"], ["red-circle.png", "a large red circle"]]


def test_a_long_path_goes_on_in_the_next_line_where_a_part_of_it_ends(tmp_path: Path) -> None:
    folder = tmp_path / "some-folder-of-pictures" / "another-one-below-it"
    folder.mkdir(parents=True)
    shutil.copy(RED, folder / "a-picture-with-quite-a-name.png")
    lines = screen_of("embed", str(folder), columns=80)
    pieces = [line.split("│")[1].strip() for line in lines if line.startswith("│")]
    assert "".join(pieces) == str(folder / "a-picture-with-quite-a-name.png")
    assert all(piece[-1] in "/-." for piece in pieces[:-1]), pieces
