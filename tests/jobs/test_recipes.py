"""The recipes for data sets run as they stand, and make what they promise."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.documents import ROOT, text_of
from tests.support.forked import shell

README = ROOT / "src" / "blip_serve" / "jobs" / "README.md"
RECIPE = re.compile(r"^### (.+?)\n.*?^```bash\n(.*?)^```$", re.DOTALL | re.MULTILINE)
RECIPES = dict(RECIPE.findall(text_of(README)))


def run(recipe: str, folder: Path) -> list[str]:
    """Runs a recipe in a folder of its own and returns the lines that it prints."""
    pictures = folder / "src" / "blip_serve" / "checkpoints" / "pictures"
    shutil.copytree(ROOT / pictures.relative_to(folder), pictures)
    script = RECIPES[recipe].replace(".venv/bin/python", sys.executable)
    done = subprocess.run(
        ["bash", "-e", "-c", shell() + script], check=False, capture_output=True, text=True, cwd=folder, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_recipe_is_tested() -> None:
    tested = {test.removeprefix("test_recipe_") for test in globals() if test.startswith("test_recipe_")}
    assert tested == {recipe.lower().replace(" ", "_").replace("-", "_") for recipe in RECIPES}


def test_recipe_a_lora_folder(tmp_path: Path) -> None:
    assert run("A LoRA folder", tmp_path) == ["drawn shape, a large red circle"]
    folder = tmp_path / "train" / "10_shapes"
    assert {path.stem for path in folder.glob("*.txt")} == {path.stem for path in folder.glob("*.png")}


def test_recipe_capfilt_on_parquet(tmp_path: Path) -> None:
    run("CapFilt on Parquet", tmp_path)
    rows = pq.read_table(tmp_path / "clean.parquet").to_pylist()
    assert [row["kept"] for row in rows] == [["web", "synthetic"], ["synthetic"], ["web", "synthetic"]]
    assert rows[1]["texts"] == [rows[1]["synthetic"]] == ["a small pink star"]
    assert rows[0]["image"]["bytes"].startswith(b"\x89PNG")


def test_recipe_wrong_alt_texts(tmp_path: Path) -> None:
    [wrong] = map(json.loads, run("Wrong alt texts", tmp_path))
    assert (wrong["image"], wrong["reason"]) == ("pink-star.png", "itm_score below 0.5")
    [right] = map(json.loads, (tmp_path / "right.jsonl").read_text().splitlines())
    assert right["image"] == "red-circle.png"


def test_recipe_near_duplicates(tmp_path: Path) -> None:
    assert run("Near-duplicates", tmp_path) == ["copy.png and red-circle.png"]


def test_recipe_rewards(tmp_path: Path) -> None:
    assert run("Rewards", tmp_path) == ["red-circle.png 0.5", "pink-star.png -0.5"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_need_no_network(recipe: str) -> None:
    assert "http" not in RECIPES[recipe]
