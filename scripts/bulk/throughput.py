"""Rows a second of `embed` in bulk, beside the most that the engine and decoding on the cores allow.

The most is 1 / (engine + decode / cores): the engine keeps all cores busy, and a picture is decoded by one. Both are
measured on the model itself, without the service, in a process of their own, by turns with the run.
"""

import argparse
import asyncio
import hashlib
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.bench import CACHE
from bench.checkpoints import checkpoint
from bench.machine import describe
from bench.markdown import table
from bench.pictures import Pictures
from bench.sides.apart import Apart
from blip_serve.allocator import keep_memory
from blip_serve.catalogue import ModelCard
from blip_serve.domain import Done, EmbedItem, ImageBytes, Progress, Work
from blip_serve.in_process import AsyncBlipServe, local_settings
from blip_serve.jobs.asking import Asking
from blip_serve.jobs.destination import destination
from blip_serve.jobs.manifest import Manifest
from blip_serve.jobs.operators.embed import EmbedOperator
from blip_serve.jobs.pictures import open_pictures
from blip_serve.jobs.pipeline import Job, Pipeline
from blip_serve.jobs.plan import WHOLE
from blip_serve.jobs.rejects import Rejects
from blip_serve.jobs.run import Run
from blip_serve.jobs.sinks import SinkOptions, make_sink
from blip_serve.jobs.sources.folder import Folder
from blip_serve.loading import CheckpointLoader
from blip_serve.settings import ModelSettings, Settings
from blip_serve.telemetry import Telemetry
from bulk.photos import photos
from bulk.quiet import QUIET, Watch

ASKED = 0.97
BLOCKS, TRIES = 5, 15
"""The pictures are taken in so many runs; the model is measured before, between and after them. A run that others
disturb is done again, with other pictures, so long as there were no more than `TRIES`."""
BATCHES = (4, 8)
"""Images a step of the engine; the fastest counts."""
DECODED = 16
"""Pictures of each measurement of the model."""
LARGE = 8
"""The part of the pictures that the large ones are as many as."""
PACKAGES = ("torch", "pillow")


@dataclass(frozen=True, slots=True)
class Alone:
    """Seconds a picture of the model itself: on the device, and to decode and resize it on one core."""

    engine: float
    decode: float


@dataclass(frozen=True, slots=True)
class Block:
    """A part of the run: its rows and seconds, and what the model alone took before and after it.

    `others`: the most of the cores that other processes took during one of the three.
    """

    rows: int
    seconds: float
    before: Alone
    after: Alone
    others: float = 0.0

    @property
    def quiet(self) -> bool:
        """Whether other processes did next to nothing."""
        return self.others <= QUIET

    def share(self, cores: int) -> float:
        """Rows a second, over the most that is possible."""
        engine = (self.before.engine + self.after.engine) / 2
        decode = (self.before.decode + self.after.decode) / 2
        return self.rows / self.seconds * (engine + decode / cores)


class Model:
    """The model without the service: what its steps and its decoding take."""

    def __init__(self, folder: Path) -> None:
        settings = settings_for(folder)
        self._model, _ = (
            CheckpointLoader(settings, Telemetry(settings.log)).find(settings.models[0], ModelCard("bulk/model")).load()
        )

    def alone(self, pictures: Sequence[bytes]) -> Alone:
        """Of pictures that were not given before."""
        items = [EmbedItem(ImageBytes(data, hashlib.sha256(data).hexdigest(), "image")) for data in pictures]
        started = time.perf_counter()
        prepared = [self._model.prepare(item) for item in items]
        decode = (time.perf_counter() - started) / len(items)
        works = [work for each in prepared for work in each.works]
        share = len(works) // len(BATCHES)
        parts = (works[i * share : (i + 1) * share] for i in range(len(BATCHES)))
        return Alone(min(self._engine(part, size) for part, size in zip(parts, BATCHES, strict=True)), decode)

    def _engine(self, works: Sequence[Work], size: int) -> float:
        """Seconds a picture, in steps of `size`."""
        started = time.perf_counter()
        for first in range(0, len(works), size):
            going_on = list(works[first : first + size])
            while going_on:
                outcomes = self._model.collect(self._model.launch(going_on))
                going_on = [work for work, outcome in zip(going_on, outcomes, strict=True) if _goes_on(work, outcome)]
        return (time.perf_counter() - started) / len(works)


def _goes_on(work: Work, outcome: object) -> bool:
    """Readies the work for its next step, as the device thread does. Raises `RuntimeError` for one that failed."""
    if isinstance(outcome, Progress):
        work.phase, work.cost = outcome.phase, outcome.cost
        return True
    if not isinstance(outcome, Done):
        raise RuntimeError(f"The model failed: {outcome}.")
    return False


class Bulk:
    """What `blip-serve bulk embed FOLDER` does, without the terminal, by `settings` of one model."""

    def __init__(self, settings: Settings, at_once: int) -> None:
        self._settings = settings
        self._at_once = at_once
        self._loop = asyncio.new_event_loop()
        self._service = AsyncBlipServe(self._settings)
        self._loop.run_until_complete(self._service.__aenter__())

    def embed(self, pictures: Path) -> int:
        """The number of vectors written of a folder's pictures. They go beside it."""
        return self._loop.run_until_complete(self._embed(pictures))

    async def _embed(self, folder: Path) -> int:
        to = destination(f"{folder}.jsonl")
        source, operator = Folder((str(folder),), frozenset(self._settings.images.formats)), EmbedOperator()
        sink = make_sink(to, SinkOptions({**source.columns(), **operator.columns}))
        job = Job(source, operator, sink, Rejects(to.rejects, to.state / "rejects"), self._at_once)
        with Manifest(to.state) as manifest:
            manifest.agree({})
            run = Run(job, manifest, WHOLE)
            run.plan()
            async with open_pictures(self._settings.images) as pictures:
                await run.process(Pipeline(job, Asking(self._service.run), pictures).segments)
        with to.path.open() as lines:
            return sum(1 for _ in lines)

    def close(self) -> None:
        """Ends the service."""
        self._loop.run_until_complete(self._service.close())
        self._loop.close()


def _model(folder: Path) -> Model:
    keep_memory()  # as commands that compute for long do
    return Model(folder)


def _bulk(folder: Path, at_once: int) -> Bulk:
    keep_memory()
    return Bulk(settings_for(folder), at_once)


def settings_for(folder: Path) -> Settings:
    """Those for local use, with the checkpoint in `folder` as the only model."""
    model = ModelSettings(id="bulk/model", source=str(folder))
    return local_settings().model_copy(update={"models": (model,), "catalogue": False})


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of this measurement."""
    parser.add_argument("--pictures", type=int, default=500, help="of 640x480; an eighth as many of 12 megapixels")
    parser.add_argument("--at-once", type=int, default=32, help="rows at once")
    parser.add_argument("--to", type=Path, default=Path("build/bulk/throughput.json"), help="the figures as JSON")


def run(options: argparse.Namespace) -> bool:
    """Measures and prints; whether the figure asked for is met."""
    folder, cores = checkpoint(CACHE, "base", "retrieval"), len(os.sched_getaffinity(0))
    kinds: dict[str, tuple[Callable[[int], list[bytes]], int]] = {
        "640x480": (Pictures().take, options.pictures),
        "12 megapixels": (_photos(), options.pictures // LARGE),
    }
    blocks: dict[str, list[Block]] = {}
    with Apart(_model, folder) as model, Apart(_bulk, folder, options.at_once) as bulk:
        for name, (take, count) in kinds.items():
            blocks[name] = measure(model, bulk, take, count // BLOCKS)
    print("\n".join(lines(blocks, cores)))
    shares = {name: share_of(found, cores) for name, found in blocks.items()}
    figures = {
        "machine": describe("cpu", PACKAGES),
        "cores": cores,
        "at once": options.at_once,
        "shares": shares,
        "blocks": {name: [asdict(block) for block in found] for name, found in blocks.items()},
    }
    options.to.parent.mkdir(parents=True, exist_ok=True)
    options.to.write_text(json.dumps(figures, indent=1) + "\n")
    met = shares["640x480"] >= ASKED
    print(f"\nasked: {ASKED:.0%} of 640x480; met: {met}; figures: {options.to}")
    return met


def _photos() -> Callable[[int], list[bytes]]:
    """Gives out large pictures that nobody was given before."""
    seeds = iter(range(10**6))
    return lambda count: photos(count, next(seeds))


def measure(model: Apart, bulk: Apart, take: Callable[[int], list[bytes]], rows: int) -> list[Block]:
    """Blocks of `rows` each, after a warm-up of both. `take`: gives out new pictures."""
    model.call("alone", take(DECODED))
    _embedded(bulk, take(DECODED))
    before, others = _alone(model, take)
    blocks: list[Block] = []
    while len(blocks) < TRIES and sum(block.quiet for block in blocks) < BLOCKS:
        run = _embedded(bulk, take(rows))
        after, noise = _alone(model, take)
        blocks.append(Block(rows, run.seconds, before, after, max(others, run.others, noise)))
        before, others = after, noise
    return blocks


def _alone(model: Apart, take: Callable[[int], list[bytes]]) -> tuple[Alone, float]:
    """What the model alone takes, and what others took meanwhile."""
    pictures = take(DECODED)
    watch = Watch()
    found: Alone = model.call("alone", pictures)
    watch.stop()
    return found, watch.others


def _embedded(bulk: Apart, pictures: Sequence[bytes]) -> Watch:
    """The time that a run over a folder takes, whose files are in the system's cache."""
    with TemporaryDirectory() as parent:
        folder = Path(parent) / "pictures"
        folder.mkdir()
        for index, data in enumerate(pictures):
            (folder / f"{index:05d}.jpg").write_bytes(data)
        watch = Watch()
        written = bulk.call("embed", folder)
        watch.stop()
    if written != len(pictures):
        raise RuntimeError(f"of {len(pictures)} pictures {written} have a vector")
    return watch


def counted(blocks: Sequence[Block]) -> Sequence[Block]:
    """The quiet ones; all, if none is."""
    return [block for block in blocks if block.quiet] or blocks


def share_of(blocks: Sequence[Block], cores: int) -> float:
    """The median of the blocks that count."""
    return statistics.median(block.share(cores) for block in counted(blocks))


def lines(blocks: dict[str, list[Block]], cores: int) -> Iterator[str]:
    """A table in Markdown."""
    heads = [
        "pictures",
        "rows",
        "rows a second",
        "engine, ms",
        "decoding, ms",
        "of the most possible",
        "blocks",
        "other processes",
    ]
    yield from table(heads, [_line(name, found, cores) for name, found in blocks.items()], "lrrrrrlr")


def _line(name: str, found: Sequence[Block], cores: int) -> list[str]:
    blocks = counted(found)

    def median(of: Callable[[Block], float]) -> float:
        return statistics.median(map(of, blocks))

    return [
        name,
        f"{sum(block.rows for block in blocks)}",
        f"{median(lambda block: block.rows / block.seconds):.2f}",
        f"{1000 * median(lambda block: block.after.engine):.1f}",
        f"{1000 * median(lambda block: block.after.decode):.1f}",
        f"{share_of(blocks, cores):.1%}",
        ", ".join(f"{block.share(cores):.1%}" for block in blocks),
        f"{max(block.others for block in blocks):.0%} of the cores",
    ]
