"""`blip-serve eval` with a fake model: what it shows and keeps, and that it goes on where it was killed."""

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from blip_serve.catalogue import EMBEDDED
from blip_serve.findings import Findings
from tests.support.fake_bulk import Ended, Fate, fake_bulk
from tests.support.pictures import encoded, picture

PICTURES, TEXTS = 12, 3
MODEL = "blip-serve/demo-retrieval"
QUESTIONS = PICTURES // 4 + 1 + PICTURES
"""Requests of a whole run: pictures embedded four at once, all texts, and the pairs of each picture."""
TELLING = Fate(tells=True)


class Place:
    """A gallery, and where evaluations of it write."""

    def __init__(self, root: Path) -> None:
        self.root, self.data = root, root / "coco_karpathy_test.json"
        self.config, self.json = root / "config.yaml", root / "found.json"
        self.config.write_text(json.dumps({"data_dir": str(root / "data"), "device": "cpu", "dtype": "float32"}))
        entries: list[dict[str, Any]] = []
        for number in range(PICTURES):
            (root / f"{number}.png").write_bytes(encoded(picture(number, 8, 8)))
            entries.append({"image": f"{number}.png", "caption": [f"text {number} {each}" for each in range(TEXTS)]})
        self.data.write_text(json.dumps(entries))

    def run(self, *more: object, fate: Fate = TELLING) -> Ended:
        common = (self.data, "--config", self.config, "--report", self.json, "--k", 4)
        return fake_bulk(["eval", "retrieval", *map(str, (*common, *more))], fate)

    def found(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.json.read_text())
        return found


@pytest.fixture
def place() -> Iterator[Place]:
    """In memory where there is such a place: each answer is synced."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Place(Path(folder))


def test_figures_are_shown_beside_the_published_ones_and_kept(place: Place) -> None:
    ended = place.run()
    assert ended.code == 0, ended.said
    assert ended.asked == QUESTIONS
    for part in ("TR@1", "IR@10", MODEL, "mmpretrain", "82.5", "protocol paper, float32", "12 pictures, 36 texts"):
        assert part in ended.said
    found = place.found()
    assert (found["model"], found["protocol"], found["dtype"]) == (MODEL, "paper", "float32")
    assert [len(found["ranks"][direction]) for direction in ("TR", "IR")] == [PICTURES, PICTURES * TEXTS]
    assert len(found["published"]) == 3
    [finding] = Findings(place.root / "data").of(MODEL)
    assert (finding.kind, finding.digest, finding.dtype) == ("evaluation", found["digest"], "float32")
    assert finding.figures["TR@1"] == round(found["figures"]["TR@1"], 2)


def test_of_flickr30k_the_trap_is_told(place: Place) -> None:
    said = " ".join(place.run("--dataset", "flickr30k").said.split())
    assert "96.9" in said
    assert "is of the checkpoint tuned on COCO" in said


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.full)])
def test_a_run_that_is_killed_asks_nothing_twice(place: Place, kills: int) -> None:
    """Each time when an answer has come that is not yet kept; others are being kept at that moment."""
    assert place.run().code == 0
    wanted, state, random, met = place.found(), place.root / "killed", Random(0), 0
    for _ in range(kills):
        ended = place.run("--out", state, fate=Fate(dies_after=random.randint(1, max(2, QUESTIONS // kills))))
        assert ended.code in (-signal.SIGKILL, 0), ended.said
        met += ended.code != 0
    kept = answered(state)
    assert met
    ended = place.run("--out", state)
    assert kept > 0
    assert (ended.code, ended.asked) == (0, QUESTIONS - kept)
    assert place.found() == wanted


def answered(state: Path) -> int:
    """How many answers are kept."""
    if not (state / "answers.db").exists():
        return 0
    with closing(sqlite3.connect(state / "answers.db")) as database:
        try:
            [(count,)] = database.execute("SELECT count(*) FROM answer")
        except sqlite3.OperationalError:  # it was killed before there was a table
            return 0
        return int(count)


def test_the_same_command_goes_on_without_a_folder_named(place: Place) -> None:
    assert place.run().asked == QUESTIONS
    assert place.run().asked == 0
    assert place.run("--protocol", "hf").asked == QUESTIONS


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--protocol", "hf"], "protocol was"),
        (["--images", str(EMBEDDED / "pictures")], "there is no file of 0.png, 1.png, 2.png, 3.png, 4.png and 7 more"),
        (["--chart", "chart.svg"], "--chart chart.svg: the name of a chart ends in .png"),
    ],
)
def test_what_does_not_fit_ends_with_2_and_the_reason(place: Place, more: list[str], told: str) -> None:
    state = place.root / "state"
    assert place.run("--out", state).code == 0
    ended = place.run("--out", state, *more)
    assert (ended.code, ended.asked) == (2, 0)
    assert told in ended.said
    assert "Traceback" not in ended.said


def test_a_name_that_is_no_utf_8_is_escaped_in_chart_finding_and_terminal(place: Place) -> None:
    place.data = place.data.rename(place.root / os.fsdecode(b"\xff\x1b[31m.json"))
    ended = place.run("--chart", place.root / "chart.png")
    assert ended.code == 0, ended.said
    assert "retrieval on \\udcff\\x1b[31m.json" in ended.said
    [finding] = Findings(place.root / "data").of(MODEL)
    assert finding.figures["data"] == "\\udcff\\x1b[31m.json"
    (place.root / "3.png").unlink()
    ended = place.run()
    assert (ended.code, "\x1b" in ended.said) == (2, False)
    assert "\\udcff\\x1b[31m.json: there is no file of 3.png" in ended.said


def test_changed_data_are_not_mixed_in(place: Place) -> None:
    state = place.root / "state"
    assert place.run("--out", state).code == 0
    (place.root / "7.png").write_bytes(encoded(picture(99, 20, 20)))
    ended = place.run("--out", state)
    assert (ended.code, ended.asked) == (2, 0)
    assert "data was" in ended.said
