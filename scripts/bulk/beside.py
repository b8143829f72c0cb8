"""What `bulk --url` costs the requests of others on the server: pairs of known images, alone and beside bulk runs.

Pairs come by chance, at a share of the rate that waiting clients reach. Windows alone and beside take turns, for each
operator: `match` goes through `/v1/match`, `caption` through chat, `predicate` through decisions, `embed` through
embeddings. The delay is in steps: one step of the device that encodes one image, here and now.
"""

import argparse
import json
import re
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import uvloop

from bench.bench import CACHE, ROOT, Bench
from bench.bodies import EMBEDDINGS, Fresh, embed_body, known
from bench.connection import connect
from bench.machine import describe
from bench.markdown import table
from bench.measure import Results
from bench.pictures import Pictures, captions
from bench.traffic import PATIENCE_S, Traffic, closed_loop, open_loop

ASKED = 1.1
"""Steps that the 95th percentile may be worse."""
OPERATORS = {
    "embed": (),
    "match": ("--text", "text", "--score", "itm"),
    "caption": ("--model", "bench/captioner"),
    "predicate": ("--statement", "a large red circle"),
}
"""The operators measured, and their options."""
KNOWN, DRAWN, ROWS = 16, 64, 4000
"""Pictures of the pairs, pictures drawn for the bulk runs, and rows of a run: more than a window can do."""
CLIENTS, SHARE = 16, 0.3
"""Clients that wait for their answers, whose rate is the capacity; and the share of it that comes."""
WINDOWS = ("alone", "beside", "beside", "alone")
SAMPLES, MOST_S, SETTLE_S = 300, 20.0, 1.0
STEPS, SEED = 15, 7
PACKAGES = ("torch", "uvicorn")


@dataclass(frozen=True, slots=True)
class Beside:
    """The 95th percentiles of one operator's windows, and its step, in seconds.

    `encoded`: images that the server encoded meanwhile, which are those of the bulk runs.
    """

    operator: str
    alone: float
    beside: float
    encoded: float
    step: float

    @property
    def steps(self) -> float:
        """How much worse it is beside the runs, in one-image steps."""
        return (self.beside - self.alone) / self.step


def add_options(parser: argparse.ArgumentParser) -> None:
    """None."""
    parser.add_argument("operators", nargs="*", help=f"of {', '.join(OPERATORS)}; all by default")


def run(options: argparse.Namespace) -> bool:
    """Prints a table. Returns whether every operator stays within what was asked for."""
    machine = describe("cpu", PACKAGES)
    bench = Bench("cpu", "auto", False, Results(CACHE / "beside.jsonl", machine), Pictures())
    pictures = bench.pictures.take(KNOWN)
    captioner = {"id": "bench/captioner", "source": str(bench.checkpoint("base", "captioning")), "preload": True}
    matcher = {"id": "bench/model", "source": str(bench.checkpoint("base")), "preload": True}
    with TemporaryDirectory() as folder, bench.serve(bench.checkpoint("base"), models=[matcher, captioner]) as server:
        source = _source(Path(folder), bench.pictures.take(DRAWN))
        bodies = known(pictures, captions(KNOWN))
        uvloop.run(closed_loop(server.url, CLIENTS, bodies, count=4 * KNOWN))
        step = one_image_step(server.url, pictures[0])
        found = [_measured(name, server.url, source, bodies, step) for name in options.operators or OPERATORS]
    print(json.dumps({"machine": machine, "found": [asdict(each) for each in found]}))
    print(_table(found))
    return all(each.steps <= ASKED for each in found)


def _source(folder: Path, drawn: Sequence[bytes]) -> Path:
    """A data set of pictures that no cache knows."""
    fresh = Fresh(drawn)
    with (folder / "rows.jsonl").open("w") as rows:
        for number, data in enumerate(islice(fresh, ROWS)):
            (folder / f"{number}.jpg").write_bytes(data)
            rows.write(json.dumps({"image": f"{number}.jpg", "text": "a large red circle"}) + "\n")
    return folder / "rows.jsonl"


def _measured(name: str, url: str, source: Path, bodies: Iterator[bytes], step: float) -> Beside:
    before = _encoded(url)
    with TemporaryDirectory() as folder:
        to = Path(folder) / "out.jsonl"
        alone, beside = percentiles(url, bodies, lambda: _bulk(name, url, source, to))
    return Beside(name, alone, beside, _encoded(url) - before, step)


def percentiles(
    url: str, bodies: Iterator[bytes], load: Callable[[], AbstractContextManager[None]]
) -> tuple[float, float]:
    """The 95th percentiles of pairs that come by chance, alone and beside a load, in seconds. Windows take turns."""
    rate = SHARE * uvloop.run(closed_loop(url, CLIENTS, bodies, seconds=4.0)).rate
    seconds: dict[str, list[float]] = {"alone": [], "beside": []}
    for number, window in enumerate(WINDOWS):
        with load() if window == "beside" else nullcontext():
            uvloop.run(closed_loop(url, 1, bodies, seconds=SETTLE_S))
            window_s = min(SAMPLES / rate, MOST_S)
            traffic = uvloop.run(open_loop(url, rate, window_s, bodies, SEED + number))
            seconds[window] += [*traffic.latencies, *[PATIENCE_S] * traffic.errors]  # at least so long
    alone, beside = (Traffic(seconds[window]).quantile(0.95) for window in ("alone", "beside"))
    return alone, beside


def one_image_step(url: str, picture: bytes) -> float:
    """Seconds on the device of a new image: the median of some, one by one."""
    return statistics.median(uvloop.run(_one_image_steps(url, Fresh([picture]))))


@contextmanager
def _bulk(name: str, url: str, source: Path, to: Path) -> Iterator[None]:
    """A bulk run on the server meanwhile, which is then interrupted; the next goes on."""
    command = [sys.executable, "-m", "blip_serve", "bulk", name, str(source), "--to", str(to), "--url", url]
    process = subprocess.Popen([*command, *OPERATORS[name]], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        while "rows" not in (line := process.stderr.readline()):  # its plan
            if not line:
                raise RuntimeError("the bulk run ended before its plan")
        yield
        if process.poll() is not None:
            raise RuntimeError(f"the bulk run ended too early: {process.stderr.read()}")
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


async def _one_image_steps(url: str, fresh: Fresh) -> list[float]:
    async with connect(url) as connection:
        answers = [await connection.post(EMBEDDINGS, embed_body([new])) for new in islice(fresh, STEPS + 2)]
    return [answer.stages["device"] / 1000 for answer in answers[2:]]


def _encoded(url: str) -> float:
    """Images that were in no cache, since the server started."""
    page = httpx.get(f"{url}/metrics").text
    return sum(float(count) for count in re.findall(r"^blip_serve_image_cache_misses_total\{.*\} (\S+)$", page, re.M))


def _table(found: Sequence[Beside]) -> str:
    rows = [
        (
            each.operator,
            f"{1000 * each.alone:.0f} ms",
            f"{1000 * each.beside:.0f} ms",
            f"{each.steps:+.2f}",
            f"{each.encoded:.0f}",
        )
        for each in found
    ]
    return "\n".join(
        table(("bulk run", "p95 alone", "p95 beside", "steps more", "images of the bulk runs encoded"), rows, "lrrrr")
    )
