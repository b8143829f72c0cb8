"""Background work (`service_tier: flex`): what it costs requests that come beside it, and what it reaches alone.

Pairs of known images come by chance, at a share of the rate that waiting clients reach, alone and beside clients that
embed new images as background work. The delay is in steps: one step of the device that encodes one image, here and now.
"""

import statistics
import time
from collections.abc import Iterator
from itertools import islice

import uvloop

from bench.bench import Bench
from bench.bodies import EMBEDDINGS, Fresh, embed_body, known
from bench.connection import connect
from bench.pictures import captions
from bench.process import Server
from bench.sides.apart import Apart
from bench.sides.flood import Flood, Flooded
from bench.traffic import Traffic, closed_loop, open_loop

GROUP = "background"
PICTURES = 16
CLIENTS = 16
"""Clients that wait for their answers, whose rate is the capacity."""
SHARE = 0.3
"""Of the capacity: how often pairs come."""
WINDOWS = ("alone", "beside", "beside", "alone")
SAMPLES, QUICK_SAMPLES = 300, 60
"""Pairs of a window."""
MOST_S = 20.0
"""Of a window; a slow machine has fewer pairs."""
ENCODINGS = 10_000
"""Background images offered in all; a window that is over leaves the rest."""
UNDER_WAY = 32
"""Background requests at a time."""
STEPS = 15
TIERS = ("flex", "default", "default", "flex")
THROUGHPUT_S, QUICK_S = 12.0, 2.0
SETTLE_S = 1.0
SEED = 7


def run(bench: Bench) -> None:
    """At base size."""
    pictures = bench.pictures.take(PICTURES)
    with Apart(Flood, pictures, UNDER_WAY) as flood, bench.serve(bench.checkpoint("base")) as server:
        bodies = known(pictures, captions(PICTURES))
        uvloop.run(closed_loop(server.url, CLIENTS, bodies, count=4 * PICTURES))
        step = uvloop.run(_one_image_step(server.url, Fresh(bench.pictures.take(1))))
        bench.add(GROUP, "one-image step", "d", f"base {bench.dtype}", "ms", [1000 * each for each in step])
        _beside(bench, server, flood, bodies, statistics.median(step))
        _throughput(bench, server, flood)


async def _one_image_step(url: str, fresh: Fresh) -> list[float]:
    """Seconds on the device of new images, one by one."""
    async with connect(url) as connection:
        answers = [await connection.post(EMBEDDINGS, embed_body([new])) for new in islice(fresh, STEPS + 2)]
    return [answer.stages["device"] / 1000 for answer in answers[2:]]


def _beside(bench: Bench, server: Server, flood: Apart, bodies: Iterator[bytes], step: float) -> None:
    """Pairs of known images, alone and beside background work, in windows that take turns."""
    reached = uvloop.run(closed_loop(server.url, CLIENTS, bodies, seconds=1.0 if bench.quick else 4.0)).rate
    rate = SHARE * reached
    samples = QUICK_SAMPLES if bench.quick else SAMPLES
    seconds: dict[str, list[float]] = {"alone": [], "beside": []}
    encoded, left, lost = 0, ENCODINGS, 0
    for number, window in enumerate(WINDOWS):
        if window == "beside":
            flood.call("start", server.url, "flex", left)
            uvloop.run(closed_loop(server.url, 1, bodies, seconds=SETTLE_S))
        traffic = uvloop.run(open_loop(server.url, rate, min(samples / rate, MOST_S), bodies, SEED + number))
        if window == "beside":
            done = _answered(flood.call("stop"))
            encoded, left = encoded + done.good, left - done.good
        seconds[window] += traffic.latencies
        lost += traffic.errors
    note = f"{rate:.3g} known pairs a second, {SHARE:.0%} of what {CLIENTS} waiting clients reach"
    note += f"; {lost} were not answered" if lost else ""
    _add(bench, seconds, step, note, f"{note}; {encoded} of {encoded + left} background images encoded meanwhile")


def _add(bench: Bench, seconds: dict[str, list[float]], step: float, alone: str, beside: str) -> None:
    model = f"base {bench.dtype}"
    for name, share in {"median": 0.5, "p95": 0.95}.items():
        found = {window: Traffic(values).quantile(share) for window, values in seconds.items()}
        for window, note in {"alone": alone, "beside": beside}.items():
            where = "alone" if window == "alone" else "beside background work"
            bench.add(GROUP, f"known pairs {where}: {name}", "d", model, "ms", [1000 * found[window]], note=note)
        more = (found["beside"] - found["alone"]) / step
        bench.add(GROUP, f"beside background work: {name} more", "d", model, "steps", [more], note=beside)


def _throughput(bench: Bench, server: Server, flood: Apart) -> None:
    """The same works as background and as interactive ones, by turns, with nothing beside them."""
    rates: dict[str, list[float]] = {"flex": [], "default": []}
    for tier in TIERS:
        flood.call("start", server.url, tier, ENCODINGS)
        time.sleep(QUICK_S if bench.quick else THROUGHPUT_S)
        rates[tier].append(_answered(flood.call("stop")).rate)
    model, note = f"base {bench.dtype}", f"new images, one a request, {UNDER_WAY} under way"
    for tier, values in rates.items():
        bench.add(GROUP, f"{tier}, alone", "d", model, "images/s", values, note=note)
    shares = [100 * flex / default for flex, default in zip(*rates.values(), strict=True)]
    bench.add(GROUP, "throughput of background work", "d", model, "%", shares, note="of the same works as interactive")


def _answered(done: Flooded) -> Flooded:
    if done.bad:
        raise RuntimeError(f"{done.bad} of {done.good + done.bad} embeddings failed: {done.refusal}")
    return done
