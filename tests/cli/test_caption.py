"""`blip-serve caption` as a process, on the embedded checkpoint."""

import json
import shutil
from pathlib import Path

import pytest

from blip_serve.catalogue import EMBEDDED
from tests.support.command import blip_serve

PICTURES = EMBEDDED / "pictures"
RED, STAR = PICTURES / "red-circle.png", PICTURES / "pink-star.png"


def test_a_picture_is_captioned_in_a_line() -> None:
    done = blip_serve("caption", str(RED))
    assert (done.returncode, done.stdout) == (0, f"{RED}\ta large red circle\n"), done.stderr
    assert done.stderr == ""  # a progress bar is for a terminal


def test_a_folder_is_read_in_the_order_of_names_with_what_is_below(tmp_path: Path) -> None:
    (tmp_path / "b" / "c").mkdir(parents=True)
    shutil.copy(STAR, tmp_path / "b" / "c" / "1.PNG")
    shutil.copy(RED, tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("no picture")
    done = blip_serve("caption", str(tmp_path), "--json", "--prompt", "a drawing of")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"image": str(tmp_path / "a.png"), "caption": "a drawing of a large red circle"},
        {"image": str(tmp_path / "b" / "c" / "1.PNG"), "caption": "a drawing of a small pink star"},
    ]


def test_a_picture_that_cannot_be_read_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    bad = tmp_path / "a.png"
    bad.write_bytes(b"no picture")
    done = blip_serve("caption", str(bad), str(STAR), str(RED))
    assert done.returncode == 1
    assert [line.split("\t")[1] for line in done.stdout.splitlines()] == ["a small pink star", "a large red circle"]
    assert f"blip-serve: {bad}: The image's format is not supported" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere"], 2, "nowhere: No such file or directory"),
        ([str(Path(__file__).parent)], 2, "no pictures in this folder"),
        ([str(RED), "--beams", "9"], 1, "the limit is 8"),
        ([str(RED), "--max-tokens", "0"], 2, "--max-tokens"),
        ([str(RED), "--prompt", "a " * 100], 1, "--prompt: The text has 102 tokens"),
        ([str(RED), "--model", "demo"], 1, "does not do this task"),
        ([str(RED), "--sidecar", ".txt"], 2, "with --sidecar give one folder"),
        ([str(PICTURES), str(PICTURES), "--sidecar", ".txt"], 2, "with --sidecar give one folder"),
    ],
)
def test_mistakes_are_told_without_a_traceback(arguments: list[str], code: int, words: str) -> None:
    done = blip_serve("caption", *arguments)
    assert done.returncode == code
    assert words in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
