"""Requests that come by chance, whether or not the service keeps up: how many a second it answers in time."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import uvloop

from bench.bench import Bench
from bench.bodies import Fresh, known, unknown
from bench.pictures import captions
from bench.traffic import Traffic, closed_loop, open_loop

GROUP = "load"
LIMIT_S = 1.0
CLIENTS = 16
PICTURES = 16
SHARES = (0.6, 0.9)
"""Of the rate of 16 clients that wait for their answers: the rates tried first."""
SEARCHES = 2
SECONDS, LEAST, MOST_S = 4.0, 30, 12.0
"""Of a trial: so long, or longer until so many requests came, of which fewer say little of the slowest; no longer."""
SEED = 5


@dataclass(frozen=True, slots=True)
class Trial:
    """A rate offered, and what became of it."""

    rate: float
    traffic: Traffic

    @property
    def held(self) -> bool:
        """Whether every request was answered, and 99 in 100 in time."""
        return not self.traffic.errors and self.traffic.quantile(0.99) < LIMIT_S


def run(bench: Bench) -> None:
    """On pictures the service knows, and on new ones."""
    pictures, texts = bench.pictures.take(PICTURES), captions(PICTURES)
    with bench.serve(bench.checkpoint("base")) as server:
        uvloop.run(_search(bench, server.url, "known images", known(pictures, texts)))
        if not bench.quick:
            uvloop.run(_search(bench, server.url, "new images", unknown(Fresh(pictures), texts)))


async def _search(bench: Bench, url: str, name: str, bodies: Iterator[bytes]) -> None:
    """Tries rates around what 16 clients reach, then halves the way between the last held and the first not held."""
    seconds = 1.0 if bench.quick else SECONDS
    await closed_loop(url, CLIENTS, bodies, count=PICTURES)
    reached = (await closed_loop(url, CLIENTS, bodies, seconds=seconds / 2)).rate

    async def attempt(rate: float) -> Trial:
        longer = seconds if bench.quick else min(max(seconds, LEAST / rate), MOST_S)
        trial = Trial(rate, await open_loop(url, rate, longer, bodies, SEED))
        _add(bench, name, trial)
        return trial

    trials = [await attempt(share * reached) for share in SHARES]
    for _ in range(0 if bench.quick else SEARCHES):
        trials.append(await attempt(_between(trials)))
    note = (
        f"p99 under {LIMIT_S:g} s and no error, at least {seconds:g} s a rate; 16 waiting clients reach {reached:.3g}/s"
    )
    bench.add(GROUP, f"{name}: highest rate", "d", f"base {bench.dtype}", "pairs/s", [_highest(trials)], note=note)


def _between(trials: list[Trial]) -> float:
    """The next rate: between the highest held and the lowest not held, or beyond where all held."""
    lost = min((trial.rate for trial in trials if not trial.held), default=None)
    held = _highest(trials)
    return 1.2 * held if lost is None else (held + lost) / 2


def _highest(trials: list[Trial]) -> float:
    """The highest rate below which none was lost."""
    lost = min((trial.rate for trial in trials if not trial.held), default=math.inf)
    return max((trial.rate for trial in trials if trial.rate < lost), default=0.0)


def _add(bench: Bench, name: str, trial: Trial) -> None:
    traffic = trial.traffic
    note = f"{traffic.errors} of {traffic.errors + len(traffic.latencies)} not answered" if traffic.errors else ""
    for share in (0.5, 0.99):
        seconds = traffic.quantile(share)
        row = f"{name}: p{100 * share:g}"
        bench.add(GROUP, row, "d", f"base {bench.dtype}", "ms", [1000 * seconds], trial.rate, note)
