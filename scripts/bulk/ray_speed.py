"""Rows a second of `embed` by two actors of a Ray cluster on this machine, beside the local runner on the same cores.

Both process the same segments, by turns. Counted are the segments in the middle of each run: when both actors have
ended some, and none has run out of them.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.bench import CACHE
from bench.checkpoints import checkpoint
from bench.machine import describe
from bench.markdown import table
from bench.pictures import Pictures
from bench.sides.apart import Apart
from blip_serve.allocator import keep_memory
from blip_serve.cli.cluster import find_cluster
from blip_serve.in_process import AsyncBlipServe, local_settings
from blip_serve.jobs.asking import Asking
from blip_serve.jobs.operators.embed import EmbedOperator
from blip_serve.jobs.pictures import open_pictures
from blip_serve.jobs.pipeline import Job, Pipeline
from blip_serve.jobs.plan import Todo
from blip_serve.jobs.rejects import Rejects
from blip_serve.jobs.run import Segments
from blip_serve.jobs.sinks.jsonl import JsonlSink
from blip_serve.jobs.sources.folder import Folder
from blip_serve.settings import ModelSettings, Settings

ASKED = 0.85
ACTORS = 2
CUT_ROWS = 32
"""Rows of a segment: a tenth as many as in a run, so that what is counted begins and ends sharply."""
BEGIN, END = 0.4, 0.9
"""The part of the segments that is counted."""
PACKAGES = ("ray", "torch", "pillow")


class Local:
    """The local runner. A run returns when each segment was there, in seconds."""

    def __init__(self, model: Path, folder: Path) -> None:
        keep_memory()
        self._settings, self._folder = _settings(model), folder

    def run(self) -> list[float]:
        """Once over the folder."""
        return asyncio.run(self._run())

    async def _run(self) -> list[float]:
        job, images = _job(self._folder), self._settings.images
        async with AsyncBlipServe(self._settings) as blip, open_pictures(images) as pictures:
            return await _times(Pipeline(job, Asking(blip.run), pictures).segments, job)


class OnRay:
    """Two actors of a cluster that is started for each run."""

    def __init__(self, model: Path, folder: Path) -> None:
        self._settings, self._folder = _settings(model), folder

    def run(self) -> list[float]:
        """Once over the folder."""
        cluster = find_cluster("local")
        job = _job(self._folder)
        with (
            TemporaryDirectory() as state,
            cluster("local", job, self._settings, Path(state), ACTORS, lambda segment: None) as segments,
        ):
            return asyncio.run(_times(segments, job))


async def _times(segments: Segments, job: Job) -> list[float]:
    todo = (Todo(cut) for cut in job.source.cuts(CUT_ROWS))
    async with aclosing(segments(todo)) as made:
        return [time.perf_counter() async for _ in made]


def _job(folder: Path) -> Job:
    source = Folder((str(folder / "pictures"),), frozenset({"JPEG"}))
    to = folder / "rows.jsonl"
    return Job(source, EmbedOperator(), JsonlSink(to, folder / "parts", {}), Rejects(to, folder / "rejects"))


def _settings(folder: Path) -> Settings:
    model = ModelSettings(id="bulk/model", source=str(folder))
    return local_settings().model_copy(update={"models": (model,), "catalogue": False})


def rate(times: Sequence[float]) -> float:
    """Rows a second between two segments: the first and the last of those that are counted."""
    first, last = int(BEGIN * len(times)), int(END * len(times)) - 1
    return (last - first) * CUT_ROWS / (times[last] - times[first])


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of this measurement."""
    parser.add_argument("--pictures", type=int, default=1024, help="of 640x480")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each side")
    parser.add_argument("--to", type=Path, default=Path("build/bulk/ray_speed.json"), help="the figures as JSON")


def run(options: argparse.Namespace) -> bool:
    """Measures and prints; whether the figure asked for is met."""
    model = checkpoint(CACHE, "base", "retrieval")
    sides: dict[str, list[float]] = {"local runner": [], f"{ACTORS} actors": []}
    with TemporaryDirectory() as name, Apart(Local, model, Path(name)) as local, Apart(OnRay, model, Path(name)) as ray:
        _draw(Path(name) / "pictures", options.pictures)
        for _ in range(options.rounds):
            for rates, side in zip(sides.values(), (local, ray), strict=True):
                rates.append(rate(side.call("run")))
                shutil.rmtree(Path(name) / "parts")
    print("\n".join(lines(sides)))
    here, actors = map(statistics.median, sides.values())
    figures = {"machine": describe("cpu", PACKAGES), "cores": len(os.sched_getaffinity(0)), "sides": sides}
    options.to.parent.mkdir(parents=True, exist_ok=True)
    options.to.write_text(json.dumps(figures, indent=1) + "\n")
    met = actors / here >= ASKED
    print(f"\nasked: {ASKED:.0%} of the local runner; is: {actors / here:.1%}; met: {met}; figures: {options.to}")
    return met


def _draw(folder: Path, count: int) -> None:
    folder.mkdir()
    for number, picture in enumerate(Pictures().take(count)):
        (folder / f"{number:05d}.jpg").write_bytes(picture)


def lines(sides: dict[str, list[float]]) -> Iterator[str]:
    """A table in Markdown."""
    rows = [
        [name, f"{statistics.median(rates):.2f}", ", ".join(f"{each:.2f}" for each in rates)]
        for name, rates in sides.items()
    ]
    yield from table(["", "rows a second", "runs"], rows, "lrl")
