"""What is asked of one server in one turn: each gives figures by name and unit."""

import asyncio
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import uvloop

from bench.against.turns import Figures
from bench.bodies import CHAT, MATCH
from bench.connection import Answer, connect
from bench.process import Server
from bench.rows.continuous import Continuous, Served
from bench.rows.gateway import OUTSIDE
from bench.traffic import Pool, arrivals, at_times, closed_loop, open_loop

Measure = Callable[[Server], Figures]
SEED = 5


def one_by_one(name: str, path: str, bodies: Iterator[bytes], count: int, *stages: str, warm: int = 1) -> Measure:
    """One client: the median of `count` requests after `warm` untimed ones; also of some stages of `server-timing`.

    The stage `gateway` is what is left without decoding, queue and device.
    """

    async def ask(url: str) -> Figures:
        found: dict[str, list[float]] = {"": [], **{stage: [] for stage in stages}}
        async with connect(url) as connection:
            for body in islice(bodies, count + warm):
                started = time.perf_counter()
                answer = _good(await connection.post(path, body))
                wall = 1000 * (time.perf_counter() - started)
                found[""].append(wall)
                known = answer.stages | {"gateway": wall - sum(answer.stages.get(stage, 0.0) for stage in OUTSIDE)}
                for stage in stages:
                    found[stage].append(known[stage])
        return {
            (f"{name}: {stage}" if stage else name, "ms"): statistics.median(values[warm:])
            for stage, values in found.items()
        }

    return lambda server: uvloop.run(ask(server.url))


def wire(name: str, body: bytes | None, count: int) -> Measure:
    """One client: a request that comes to no model, `/livez` without a body, or a refused match."""

    async def ask(url: str) -> Figures:
        taken = []
        async with connect(url) as connection:
            for _ in range(count):
                started = time.perf_counter()
                await (connection.get("/livez") if body is None else connection.post(MATCH, body))
                taken.append(1000 * (time.perf_counter() - started))
        return {(name, "ms"): statistics.median(taken)}

    return lambda server: uvloop.run(ask(server.url))


def waiting_clients(
    name: str, clients: int, bodies: Iterator[bytes], *, seconds: float = float("inf"), count: int | None = None
) -> Measure:
    """Pairs a second of clients that each ask anew once answered."""

    def measure(server: Server) -> Figures:
        traffic = uvloop.run(closed_loop(server.url, clients, bodies, seconds=seconds, count=count))
        if traffic.errors:
            raise RuntimeError(f"{name}: {traffic.errors} requests failed: {server.url}")
        return {(name, "pairs/s"): traffic.rate}

    return measure


def by_chance(name: str, rate: float, seconds: float, bodies: Iterator[bytes]) -> Measure:
    """Pairs that come `rate` a second, whatever became of those before."""

    def measure(server: Server) -> Figures:
        traffic = uvloop.run(open_loop(server.url, rate, seconds, bodies, SEED))
        if traffic.errors:
            raise RuntimeError(f"{name}: {traffic.errors} requests failed: {server.url}")
        return {(f"{name}: p{100 * share:g}", "ms"): 1000 * traffic.quantile(share) for share in (0.5, 0.95)}

    return measure


def captions_by_chance(name: str, rate: float, lengths: Sequence[int], bodies: Callable[[], list[bytes]]) -> Measure:
    """Streams that come `rate` a second: first word, whole caption, and tokens a second."""

    async def ask(url: str) -> Figures:
        pool, given = Pool(url), iter(bodies())
        policy = Continuous(pool)
        started = time.perf_counter()
        due = arrivals(len(lengths), len(lengths) / rate, SEED)
        found: list[Served] = await asyncio.gather(*await at_times(due, lambda at: policy.ask(at, next(given))))
        pool.close()
        ended = max(each.ended for each in found) - started
        return {
            (f"{name}: first word", "ms"): 1000 * statistics.median(each.first for each in found),
            (f"{name}: whole caption", "ms"): 1000 * statistics.median(each.whole for each in found),
            (f"{name}: throughput", "tokens/s"): sum(lengths) / ended,
        }

    return lambda server: uvloop.run(ask(server.url))


def captions_at_once(name: str, clients: int, bodies: Iterator[bytes]) -> Measure:
    """Captions a second of clients that ask at the same time."""

    async def ask(url: str) -> Figures:
        pool = Pool(url)
        started = time.perf_counter()
        for answer in await asyncio.gather(*(pool.post(CHAT, body) for body in islice(bodies, clients))):
            _good(answer)
        pool.close()
        return {(name, "captions/s"): clients / (time.perf_counter() - started)}

    return lambda server: uvloop.run(ask(server.url))


def _good(answer: Answer) -> Answer:
    if answer.status != 200:
        raise RuntimeError(f"{answer.status}: {json.loads(answer.content)}")
    return answer
