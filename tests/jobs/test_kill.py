"""kill -9 at any moment: the same command goes on, and the results are those of an undisturbed run, byte for byte.

The moments are drawn from a seed, among all at which the run is about to create, sync, rename or delete a file.
"""

import os
import re
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest

from tests.jobs.durability import EVERY, To, arguments, make_photos, results
from tests.support.fake_bulk import ALL_IS_WELL, Ended, Fate, fake_bulk

SOME, MANY = (300, 2), (2000, 10)
"""Rows and kills: of the fast tests, and of the full ones."""
QUICK = ("jsonl", "parquet folder", "sidecar")
"""Destinations of the fast tests: one file, a folder of parts, a file a row."""


@pytest.fixture
def place() -> Iterator[Path]:
    """In memory where there is such a place: it is a process that is killed, and thousands of files are synced."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


class Runs:
    """Runs of one command below a folder of their own."""

    def __init__(self, root: Path, rows: int, to: To) -> None:
        self._root, self._to = root, to
        make_photos(root / "photos", rows)

    def run(self, *more: str, fate: Fate = ALL_IS_WELL) -> Ended:
        """To its end."""
        return fake_bulk(arguments(self._to, self._root, more), fate)

    def killed(self, kills: int, events: int, more: Sequence[str] = (), fate: Fate = ALL_IS_WELL) -> int:
        """Killed so many times among the `events` of an undisturbed run, then run to the end. The kills that met it."""
        random, met = Random(str(self._to)), 0
        for _ in range(kills):
            dies_at = random.randint(1, max(2, 3 * events // (2 * kills)))
            ended = self.run(*more, fate=replace(fate, dies_at=dies_at))
            assert ended.code in (-signal.SIGKILL, 0), ended.said
            met += ended.code != 0
        assert self.run(*more, fate=fate).code == 0
        return met

    def results(self) -> dict[str, bytes]:
        """What is written."""
        return results(self._to, self._root)


@pytest.mark.parametrize(
    ("name", "rows", "kills"),
    [*((name, *SOME) for name in QUICK), *(pytest.param(name, *MANY, marks=pytest.mark.full) for name in EVERY)],
)
def test_a_run_that_is_killed_again_and_again_writes_what_an_undisturbed_one_does(
    place: Path, name: str, rows: int, kills: int
) -> None:
    to = EVERY[name]
    calm, killed = Runs(place / "calm", rows, to), Runs(place / "killed", rows, to)
    undisturbed = calm.run()
    assert undisturbed.code == 0, undisturbed.said
    assert killed.killed(kills, undisturbed.events) >= kills // 2
    assert killed.results() == calm.results()


@pytest.mark.full
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["jsonl", "webdataset"])
def test_so_it_is_with_the_embedded_model_but_for_rounding(place: Path, name: str) -> None:
    (rows, kills), to = MANY, EVERY[name]
    calm, killed = Runs(place / "calm", rows, to), Runs(place / "killed", rows, to)
    undisturbed = calm.run(fate=Fate(embedded=True))
    assert undisturbed.code == 0, undisturbed.said
    assert killed.killed(kills, undisturbed.events, fate=Fate(embedded=True)) >= kills // 2
    assert keys(killed.results()) == keys(calm.results())


def keys(results: dict[str, bytes]) -> dict[str, list[bytes]]:
    """The files, and in each the rows' keys in their order."""
    return {name: re.findall(rb"\b(\d{5}\.png)", data) for name, data in results.items()}


@pytest.mark.parametrize("name", ["jsonl", "sidecar"])
def test_rows_taken_up_again_are_written_once_though_that_run_is_killed(place: Path, name: str) -> None:
    rows, to = 300, EVERY[name]
    calm, killed = Runs(place / "calm", rows, to), Runs(place / "killed", rows, to)
    late = Fate(late=2)
    assert calm.run(fate=late).code == killed.run(fate=late).code == 1
    assert (place / "calm").joinpath(f"{to.name}.rejects.jsonl").exists()
    undisturbed = calm.run("--retry-failed")
    assert undisturbed.code == 0, undisturbed.said
    assert killed.killed(2, undisturbed.events, ["--retry-failed"])
    assert killed.results() == calm.results()
    assert not [name for name in calm.results() if "rejects" in name]


@pytest.mark.parametrize("name", ["jsonl", "parquet folder", "webdataset", "sidecar"])
def test_a_full_disk_ends_the_run_with_a_message_and_it_goes_on_when_there_is_room(place: Path, name: str) -> None:
    to = EVERY[name]
    calm, full = Runs(place / "calm", 300, to), Runs(place / "full", 300, to)
    assert calm.run().code == 0
    ended = full.run(fate=Fate(full_at=4))
    assert ended.code == 1, ended.said
    assert "the same command goes on from here" in ended.said
    assert str(place) in ended.said
    assert "Traceback" not in ended.said
    assert full.run().code == 0
    assert full.results() == calm.results()
