"""What a Grad-CAM explanation takes beside a match: a known image with one caption, and with 16, in float32.

At base size and random weights, in this process and by turns. The model is asked as the service asks it.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from bench.bench import CACHE
from bench.checkpoints import checkpoint
from bench.machine import describe
from bench.markdown import table
from bench.pictures import Pictures, captions
from blip_serve.in_process import BlipServe
from blip_serve.settings import LogSettings, ModelSettings, Settings
from bulk.quiet import QUIET, Watch

ASKED = 4.0
"""How many matches of one caption an explanation of one may take."""
SIZES = (1, 16)
TURNS, WARM_UP = 30, 3
PACKAGES = ("torch",)


@dataclass(frozen=True, slots=True)
class Taken:
    """Median seconds of so many captions with one known image."""

    captions: int
    match: float
    explain: float

    @property
    def ratio(self) -> float:
        """How many matches an explanation takes."""
        return self.explain / self.match


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of this measurement."""
    parser.add_argument("--turns", type=int, default=TURNS)


def run(options: argparse.Namespace) -> bool:
    """Prints a table; whether an explanation of one caption takes no longer than asked."""
    watch = Watch()
    with BlipServe(_settings()) as service:
        found = [_taken(service, size, options.turns) for size in SIZES]
    watch.stop()
    print(json.dumps({"machine": describe("cpu", PACKAGES), "found": [asdict(each) for each in found]}))
    rows = [
        (str(each.captions), f"{1000 * each.match:.1f} ms", f"{1000 * each.explain:.1f} ms", f"{each.ratio:.2f}")
        for each in found
    ]
    print("\n".join(table(("captions", "match", "explain", "times"), rows, "rrrr")))
    note = "" if watch.others <= QUIET else ": too much to say anything"
    print(f"\nOther processes took {watch.others:.0%} of the cores{note}.")
    return found[0].ratio <= ASKED


def _settings() -> Settings:
    model = ModelSettings(id="explain/speed", source=str(checkpoint(CACHE, "base", "retrieval")), preload=True)
    return Settings(device="cpu", dtype="float32", catalogue=False, models=(model,), log=LogSettings(level="error"))


def _taken(service: BlipServe, size: int, turns: int) -> Taken:
    [picture] = Pictures().take(1)
    texts = captions(size)
    sides: tuple[Callable[[], object], ...] = (
        lambda: service.match(picture, texts, scores=["itm"]),
        lambda: service.explain(picture, texts, method="gradcam"),
    )
    seconds = list(_by_turns(sides, turns))[WARM_UP:]
    return Taken(size, *(statistics.median(side) for side in zip(*seconds, strict=True)))


def _by_turns(sides: tuple[Callable[[], object], ...], turns: int) -> Iterator[list[float]]:
    """The seconds of each side, a turn after the other, those to warm up among them."""
    for _ in range(turns + WARM_UP):
        taken = []
        for side in sides:
            started = time.perf_counter()
            side()
            taken.append(time.perf_counter() - started)
        yield taken
