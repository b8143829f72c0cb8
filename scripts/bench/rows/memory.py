"""Resident memory of the server's process: under load, and after many requests. `startup` has it at rest."""

import asyncio
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import uvloop

from bench.bench import Bench
from bench.bodies import Fresh, known, unknown
from bench.pictures import captions
from bench.process import Server
from bench.rows.gateway import DEMO
from bench.traffic import Traffic, closed_loop

GROUP = "memory"
CLIENTS = 16
LOAD_S = 8.0
SAMPLE_S = 0.1
MANY, MORE = 1_000, 10_000
KEPT = {"cache_tokens_bytes": 2 * 2**20, "cache_vectors_bytes": 64 * 2**10}
"""Image states kept in the long run, some 128: both bounds are met well before the first of its readings."""
PICTURES = 64


def run(bench: Bench) -> None:
    """At base size (in whole runs), and for long with the demo checkpoint."""
    if not bench.quick:
        with bench.serve(bench.checkpoint("base")) as server:
            new = unknown(Fresh(bench.pictures.take(CLIENTS)), captions(CLIENTS))
            peak = uvloop.run(_peak(server, new, LOAD_S))
            note = f"{CLIENTS} clients with new images; the states of known images are kept meanwhile"
            bench.add(GROUP, "under load, most", "d", f"base {bench.dtype}", "MB", [peak], note=note)
    with bench.serve(DEMO, images=KEPT, log={"level": "warning"}) as server:
        _long_run(bench, server)


def resident(server: Server) -> float:
    """Megabytes of the process that are in memory."""
    return _megabytes(server, "status", "VmRSS:")


def proportional(server: Server) -> float:
    """Megabytes of the process, of pages that others have too its part only (the proportional set size)."""
    return _megabytes(server, "smaps_rollup", "Pss:")


def _megabytes(server: Server, file: str, key: str) -> float:
    [line] = [
        line for line in Path(f"/proc/{server.process.pid}/{file}").read_text().splitlines() if line.startswith(key)
    ]
    return int(line.split()[1]) * 1024 / 1e6


async def _peak(server: Server, bodies: Iterator[bytes], seconds: float) -> float:
    """The most that was seen under `seconds` of load."""
    load = asyncio.ensure_future(closed_loop(server.url, CLIENTS, bodies, seconds=seconds))
    seen = []
    while not load.done():
        seen.append(resident(server))
        await asyncio.wait([load], timeout=SAMPLE_S)
    _answered(await load)
    return max(seen)


def _long_run(bench: Bench, server: Server) -> None:
    """Known and new images in turn."""
    pictures, texts = bench.pictures.take(PICTURES), captions(PICTURES)
    mixed = chain.from_iterable(zip(known(pictures, texts), unknown(Fresh(pictures), texts), strict=True))
    done, first = 0, 0.0
    for count in (MANY // 20, MORE // 20) if bench.quick else (MANY, MORE):
        _answered(uvloop.run(closed_loop(server.url, CLIENTS, mixed, count=count - done)))
        done = count
        now = resident(server)
        bench.add(GROUP, "after requests", "d", f"demo {bench.dtype}", "MB", [now], count)
        first = first or now
    if bench.quick:
        return
    note = "from the first count of requests to the last, half of them with new images"
    bench.add(GROUP, "growth", "d", f"demo {bench.dtype}", "%", [100 * (now / first - 1)], note=note)


def _answered(traffic: Traffic) -> None:
    if traffic.errors:
        raise RuntimeError(f"{traffic.errors} requests failed")
