"""Captions that join and leave between words, against batches that start and end together.

Both sides are our server, given the same requests at the same times. The static side has a gate before it that lets
requests through in batches, one batch at a time, and hands out a batch's answers when all of them are done.
"""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import uvloop

from bench.bench import Bench
from bench.bodies import CHAT, Fresh, caption_body
from bench.connection import Answer
from bench.traffic import Pool, arrivals, at_times

GROUP = "continuous"
COUNT = 20
TOKENS = (5, 40)
"""Least and most of a caption."""
BATCH, TIMEOUT_S = 16, 0.05
"""Of the static side: a batch starts when it is full, or so long after its first request was met."""
SHARES = (0.8, 1.2)
"""Rates of arrival, of what the continuous side reached when all came at once."""
SEED = 11


@dataclass(frozen=True, slots=True)
class Served:
    """A caption: seconds from its arrival to its first word and to its end, and when that was."""

    first: float
    whole: float
    ended: float


Policy = Callable[[float, bytes], Awaitable[Served]]


def run(bench: Bench) -> None:
    """Time to first token, time to the end, and tokens a second, by rate of arrival."""
    with bench.serve(bench.checkpoint("base", "captioning")) as server:
        uvloop.run(_run(bench, server.url))


async def _run(bench: Bench, url: str) -> None:
    count = COUNT // 5 if bench.quick else COUNT
    generator = random.Random(SEED)
    lengths = [generator.randint(*TOKENS) for _ in range(count)]
    fresh = Fresh(bench.pictures.take(16))
    pool = Pool(url)

    async def served(rate: float, static: bool) -> tuple[float, list[Served]]:
        bodies = iter([caption_body(next(fresh), tokens) for tokens in lengths])
        policy = Gate(pool).ask if static else Continuous(pool).ask
        started = time.perf_counter()
        due = arrivals(count, count / rate, SEED)
        found = await asyncio.gather(*await at_times(due, lambda at: policy(at, next(bodies))))
        return started + due[0], found

    began, found = await served(1000 * count, static=False)
    reached = count / (max(each.ended for each in found) - began)
    for share in SHARES[-1:] if bench.quick else SHARES:
        for side in ("d", "static"):
            began, found = await served(share * reached, side == "static")
            _add(bench, side, share * reached, sum(lengths) / (max(each.ended for each in found) - began), found)
    pool.close()


def _add(bench: Bench, side: str, rate: float, throughput: float, found: Sequence[Served]) -> None:
    model = f"base {bench.dtype}"
    note = f"{len(found)} captions of {TOKENS[0]} to {TOKENS[1]} tokens, new images"
    if side == "static":
        note += f"; batches of {BATCH}, or of what came within {1000 * TIMEOUT_S:.0f} ms"
    bench.add(GROUP, "first token", side, model, "ms", [1000 * each.first for each in found], rate, note)
    bench.add(GROUP, "whole caption", side, model, "ms", [1000 * each.whole for each in found], rate, note)
    bench.add(GROUP, "throughput", side, model, "tokens/s", [throughput], rate, note)


class Continuous:
    """Each request goes to the server when it comes."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ask(self, at: float, body: bytes) -> Served:
        """A request that came `at`."""
        answer = await self._pool.post(CHAT, body)
        return Served(_first_word(answer) - at, answer.arrivals[-1] - at, answer.arrivals[-1])


class Gate:
    """Requests wait for their batch, and for the end of the batch before it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: list[tuple[bytes, asyncio.Future[float]]] = []
        self._came = asyncio.Condition()
        self._running: asyncio.Task[None] | None = None

    async def ask(self, at: float, body: bytes) -> Served:
        """A request that came `at`."""
        done: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        async with self._came:
            self._waiting.append((body, done))
            self._came.notify_all()
        if self._running is None:
            self._running = asyncio.ensure_future(self._run())
        ended = await done
        return Served(ended - at, ended - at, ended)

    async def _run(self) -> None:
        while self._waiting:
            await self._full()
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            answers = await asyncio.gather(*(self._pool.post(CHAT, body) for body, _ in batch))
            ended = max(map(_last_word, answers))
            for _, done in batch:
                done.set_result(ended)
        self._running = None

    async def _full(self) -> None:
        async with self._came:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    await self._came.wait_for(lambda: len(self._waiting) >= BATCH)
            except TimeoutError:
                return


def _first_word(answer: Answer) -> float:
    """When the first text was there."""
    return next(at for chunk, at in zip(answer.chunks, answer.arrivals, strict=True) if _text(chunk))


def _last_word(answer: Answer) -> float:
    """When all was there. Raises where there was no text."""
    _first_word(answer)
    return answer.arrivals[-1]


def _text(chunk: bytes) -> str:
    """What a chunk of one or more events adds to the caption."""
    events = [line.removeprefix(b"data: ") for line in chunk.splitlines() if line.startswith(b"data: {")]
    return "".join(choice["delta"].get("content") or "" for event in events for choice in json.loads(event)["choices"])
