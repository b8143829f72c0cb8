"""`blip-serve explain`, in this process: another would only load torch again."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from blip_serve.catalogue import EMBEDDED
from blip_serve.cli import app

BOTH = str(EMBEDDED / "pictures" / "blue-square-green-star.png")
CAPTION = "a blue square and a green star"


def explain(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["explain", *arguments])


def test_it_says_where_the_words_are_and_draws_them(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    done = explain(str(broken), BOTH, "--caption", CAPTION, "--out", str(tmp_path / "heat"))
    assert done.exit_code == 1
    assert str(broken) in done.stderr
    assert "7 pictures written into" in done.stderr
    assert "blip-serve/demo-retrieval (hf), gradcam, layer 0" in done.stdout
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.splitlines() if "│" in line]
    assert [line[1] for line in lines] == CAPTION.split()
    assert {line[1]: line[2] for line in lines}["star"] in ("left", "lower left", "lower")
    names = sorted(file.name for file in (tmp_path / "heat").iterdir())
    assert names[1] == "blue-square-green-star-1-2-blue.png"
    with Image.open(tmp_path / "heat" / names[1]) as drawn, Image.open(BOTH) as given:
        assert drawn.size == given.size


def test_each_of_many_pictures_may_have_as_long_a_caption_as_one(tmp_path: Path) -> None:
    """A request has 256 words for all its pictures together."""
    for number in range(16):
        shutil.copy(BOTH, tmp_path / f"{number}.png")
    done = explain(str(tmp_path), "--caption", "red, " * 17, "--json")
    assert done.exit_code == 0, done.stderr
    assert [len(row["words"]) for row in json.loads(done.stdout)] == [17] * 16


def test_it_prints_numbers_of_answers_by_the_layer_asked_for() -> None:
    arguments = ("--question", "what colour is the star?", "--model", "demo-vqa", "--layer", "all", "--per", "caption")
    [row] = json.loads(explain(BOTH, "--caption", "dark green", *arguments, "--json").stdout)
    assert (row["method"], row["layer"], row["itm_score"]) == ("attention", "all", None)
    [word] = row["words"]
    assert (word["word"], word["start"], word["end"]) == ("dark green", 0, 10)
    assert max(max(line) for line in word["map"]) == 1
    assert "file" not in word


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([BOTH], 2, "--caption"),
        ([BOTH, "--caption", "a", "--layer", "-1"], 2, "give the index of a layer, or all"),
        ([BOTH, "--caption", "a", "--out", f"{BOTH}/in"], 2, "Not a directory"),
        ([BOTH, "--caption", "a", "--layer", "99"], 1, "layer"),
    ],
)
def test_mistakes_are_told_in_a_line_without_a_traceback(arguments: list[str], code: int, words: str) -> None:
    done = explain(*arguments)
    assert done.exit_code == code
    assert words in " ".join(done.stderr.replace("│", " ").split())
    assert isinstance(done.exception, SystemExit)
