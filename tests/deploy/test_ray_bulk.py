"""Bulk runs on a real Ray cluster of this machine: the local runner's rows, the death of an actor, and going on."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest

pytest.importorskip("ray.serve", reason="the extra `ray` is not installed")
pytest.importorskip("ray.data", reason="the extra `ray` is not installed")

import ray

from blip_serve.errors import ConfigurationError, InvalidInput, ModelNotFound, Unavailable
from blip_serve.images.reference import BytesImage
from blip_serve.in_process import AsyncBlipServe, local_settings
from blip_serve.jobs import plan
from blip_serve.jobs.asking import Asking
from blip_serve.jobs.manifest import Manifest, Segment
from blip_serve.jobs.operators.caption import CaptionOperator
from blip_serve.jobs.operators.operator import Ask, Operator
from blip_serve.jobs.operators.serving import Serving
from blip_serve.jobs.pictures import open_pictures
from blip_serve.jobs.pipeline import Job, Pipeline
from blip_serve.jobs.plan import WHOLE, Todo
from blip_serve.jobs.rejects import Rejects
from blip_serve.jobs.rows import ColumnType, Cut, Fields, Row
from blip_serve.jobs.run import Run, Segments
from blip_serve.jobs.sinks.jsonl import JsonlSink
from blip_serve.jobs.sources.folder import Folder
from blip_serve.jobs.tally import Tally
from blip_serve.ray.bulk import Actors
from blip_serve.ray.tries import MOST, Tries
from blip_serve.ray.worker import Feed
from blip_serve.settings import Settings
from tests.support.pictures import picture
from tests.support.ray_cluster import STARTS_S

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings(r"default:::ray\."),  # Ray's own
]

ROWS, CUT_ROWS = 60, 8
REFUSED = "00011.png"
"""The picture that `Named` refuses."""


@dataclass(frozen=True, slots=True)
class Named(Operator):
    """Gives each row its key, needs no model, and refuses one row.

    `deadly`: the row whose processing ends the process, until the file `died` is there; if that is `None`, always.
    """

    deadly: str | None = None
    died: Path | None = None

    @property
    def needs_picture(self) -> bool:
        return False

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        return {"name": "string"}

    async def apply(self, row: Row, picture: BytesImage | None, ask: Ask) -> Fields:
        if row.key == self.deadly and not (self.died and self.died.exists()):
            if self.died:
                self.died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if row.key == REFUSED:
            raise InvalidInput("No.", param="image")
        return {"name": f"the {row.key}"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(ROWS):
        picture(number).save(folder / f"{number:05d}.png")
    return folder


@pytest.fixture(scope="module")
def settings() -> Settings:
    """In float32, in which captions do not depend on what else is in a batch."""
    return local_settings().model_copy(update={"device": "cpu", "dtype": "float32"})


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=200 * 2**20)
    try:
        yield
    finally:
        ray.shutdown()


@pytest.fixture(autouse=True)
def _small_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "CUT_ROWS", CUT_ROWS)


@dataclass(frozen=True, slots=True)
class Bulk:
    """A run into a folder of its own."""

    job: Job
    state: Path
    settings: Settings

    @classmethod
    def of(cls, photos: Path, operator: Operator, to: Path, settings: Settings) -> "Bulk":
        """Over a folder of pictures, to JSON lines."""
        source = Folder((str(photos),), frozenset({"PNG"}))
        sink = JsonlSink(to / "rows.jsonl", to / "parts", {**source.columns(), **operator.columns})
        return cls(Job(source, operator, sink, Rejects(to / "rejects.jsonl", to / "rejects")), to, settings)

    def on_ray(self, most: int = 1 << 20) -> int:
        """Processes so many segments at most, on the cluster. Returns how many."""
        tries = Tries(self.state / "tries")
        tries.clear()
        return self._run(Actors(self.job, self.settings, tries.folder, 2, lambda segment: None).segments, most)

    def here(self, most: int = 1 << 20) -> int:
        """The same, in this process."""

        async def segments(todo: Iterator[Todo]) -> AsyncGenerator[Segment, None]:
            async with (
                AsyncBlipServe(self.settings) as blip,
                open_pictures(self.settings.images) as pictures,
                aclosing(Pipeline(self.job, Asking(blip.run), pictures).segments(todo)) as made,
            ):
                async for segment in made:
                    yield segment

        return self._run(segments, most)

    def found(self) -> tuple[bytes, bytes]:
        """The rows and the rejects."""
        rejects = self.state / "rejects.jsonl"
        return (self.state / "rows.jsonl").read_bytes(), rejects.read_bytes() if rejects.exists() else b""

    def _run(self, segments: Segments, most: int) -> int:
        done = 0

        async def some(todo: Iterator[Todo]) -> AsyncGenerator[Segment, None]:
            nonlocal done
            async with aclosing(segments(todo)) as made:
                async for segment in made:
                    done += 1
                    yield segment
                    if done == most:
                        raise KeyboardInterrupt

        with Manifest(self.state) as manifest, suppress(KeyboardInterrupt):
            asyncio.run(Run(self.job, manifest, WHOLE).process(some))
        return done


def test_actors_write_what_the_local_runner_writes(photos: Path, tmp_path: Path, settings: Settings) -> None:
    on_ray = Bulk.of(photos, CaptionOperator(), tmp_path / "ray", settings)
    here = Bulk.of(photos, CaptionOperator(), tmp_path / "here", settings)
    assert on_ray.on_ray() == here.here() == -(-ROWS // CUT_ROWS)
    assert on_ray.found() == here.found()
    assert on_ray.found()[0].count(b"\n") == ROWS


def test_an_actor_that_is_killed_costs_no_row(photos: Path, tmp_path: Path, settings: Settings) -> None:
    died = tmp_path / "died"
    on_ray = Bulk.of(photos, Named("00020.png", died), tmp_path / "ray", settings)
    here = Bulk.of(photos, Named(), tmp_path / "here", settings)
    assert on_ray.on_ray() == here.here()
    assert died.exists()
    assert on_ray.found() == here.found()


@pytest.mark.parametrize("first", ["on_ray", "here"])
def test_a_run_goes_on_elsewhere(photos: Path, tmp_path: Path, settings: Settings, first: str) -> None:
    whole = Bulk.of(photos, Named(), tmp_path / "whole", settings)
    whole.here()
    cut = Bulk.of(photos, Named(), tmp_path / "cut", settings)
    second = "here" if first == "on_ray" else "on_ray"
    assert getattr(cut, first)(3) == 3
    assert getattr(cut, second)() == -(-ROWS // CUT_ROWS) - 3
    assert cut.found() == whole.found()


def test_rows_that_kill_every_actor_end_the_run(photos: Path, tmp_path: Path, settings: Settings) -> None:
    bulk = Bulk.of(photos, Named("00020.png"), tmp_path / "ray", settings)
    with pytest.raises(Unavailable, match=f"An actor died {MOST} times while it had the source's rows"):
        bulk.on_ray()


def test_an_error_of_the_whole_run_ends_it_with_its_own_message(
    photos: Path, tmp_path: Path, settings: Settings
) -> None:
    bulk = Bulk.of(photos, CaptionOperator(serving=Serving("no/such")), tmp_path / "ray", settings)
    with pytest.raises(ModelNotFound, match="no/such"):
        bulk.on_ray()


def test_a_machine_that_does_not_share_the_files_says_so(
    photos: Path, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bulk = Bulk.of(photos, Named(), tmp_path / "ray", settings)
    actors = Actors(bulk.job, settings, tmp_path / "missing", 1, lambda segment: None)

    async def first() -> Segment:
        async with aclosing(actors.segments(Todo(cut) for cut in islice(bulk.job.source.cuts(8), 1))) as made:
            return await anext(made)

    with pytest.raises(ConfigurationError, match="share a file system"):
        asyncio.run(first())


def test_the_next_rows_begin_before_the_last_are_done() -> None:
    asyncio.run(_feed_two())


async def _feed_two() -> None:
    seen: list[int] = []

    async def segments(todo: Iterator[Todo]) -> AsyncGenerator[Segment, None]:
        waiting = [next(todo)]
        await asyncio.sleep(0)  # here the second one is given
        waiting += todo
        for each in waiting:
            seen.append(len(waiting))
            yield Segment(each.cut.index, 0, each.count, Tally())

    feed = Feed(segments)
    done = await asyncio.gather(*(feed.process(Todo(Cut(index, 0, 1, None))) for index in range(2)))
    assert [segment.cut for segment in done] == [0, 1]
    assert seen == [2, 2]
    assert (await feed.process(Todo(Cut(7, 0, 1, None)))).cut == 7


def test_an_error_reaches_all_that_wait_and_the_next_run_begins_anew() -> None:
    asyncio.run(_feed_an_error())


async def _feed_an_error() -> None:
    async def segments(todo: Iterator[Todo]) -> AsyncGenerator[Segment, None]:
        for each in todo:
            if each.cut.index == 0:
                raise OSError("the disk is full")
            yield Segment(each.cut.index, 0, each.count, Tally())

    feed = Feed(segments)
    asked = (feed.process(Todo(Cut(index, 0, 1, None))) for index in range(2))
    assert [type(each) for each in await asyncio.gather(*asked, return_exceptions=True)] == [OSError, OSError]
    assert (await feed.process(Todo(Cut(1, 0, 1, None)))).cut == 1


def test_the_command_runs_on_a_cluster_of_its_own(photos: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "blip_serve", "bulk", "caption", str(photos), "--to", "rows.jsonl", "--json"]
    with_ray = [*command, "--ray", "local", "--ray-actors", "1"]
    ended = subprocess.run(with_ray, cwd=tmp_path, capture_output=True, text=True, timeout=2 * STARTS_S, check=False)
    assert ended.returncode == 0, ended.stderr
    assert f'"rows": {ROWS}' in ended.stdout
    assert all(line.startswith("blip-serve: ") for line in ended.stderr.splitlines()), ended.stderr
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == ROWS


def test_a_cluster_that_is_not_there_is_told_in_a_line(photos: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "blip_serve", "bulk", "caption", str(photos), "--to", str(tmp_path / "rows.jsonl")]
    ended = subprocess.run(
        [*command, "--ray", "127.0.0.1:1"], capture_output=True, text=True, timeout=2 * STARTS_S, check=False
    )
    assert ended.returncode == 2
    assert "blip-serve: --ray 127.0.0.1:1: " in ended.stderr
    assert "Traceback" not in ended.stderr
