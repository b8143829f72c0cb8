"""Many requests at once, from one event loop: by clients that wait for their answers, or at given times."""

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from bench.bodies import MATCH
from bench.connection import Answer, Connection, connect, open_connection

T = TypeVar("T")
PATIENCE_S = 2.0
"""After the last arrival of a trial, what is not answered by then has failed."""

KEEP_S = 3.0
"""An idle connection is used again for so long; uvicorn closes it after 5 seconds."""


@dataclass(slots=True)
class Traffic:
    """What came of some requests: seconds of those answered with 200, how many were not, seconds from first to last."""

    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        """Seconds within which `share` of the answers came."""
        if len(self.latencies) < 2:
            return self.latencies[0]
        return statistics.quantiles(self.latencies, n=1000, method="inclusive")[round(share * 1000) - 1]


async def closed_loop(
    url: str, clients: int, bodies: Iterator[bytes], *, seconds: float = float("inf"), count: int | None = None
) -> Traffic:
    """`clients` that each ask anew once answered, for `seconds` or until `count` were asked."""
    traffic = Traffic()
    asked = 0
    started = time.perf_counter()

    async def client() -> None:
        nonlocal asked
        async with connect(url) as connection:
            while time.perf_counter() - started < seconds and (count is None or asked < count):
                asked += 1
                body = next(bodies)
                sent = time.perf_counter()
                answer = await connection.post(MATCH, body)
                _note(traffic, answer, time.perf_counter() - sent)

    await asyncio.gather(*(client() for _ in range(clients)))
    traffic.seconds = time.perf_counter() - started
    return traffic


async def open_loop(url: str, rate: float, seconds: float, bodies: Iterator[bytes], seed: int) -> Traffic:
    """Requests that come by chance, `rate` a second, whatever became of those before; timed from when they were due."""
    traffic = Traffic()
    pool = Pool(url)
    due = arrivals(max(1, round(rate * seconds)), seconds, seed)

    async def ask(at: float, body: bytes) -> None:
        answer = await pool.post(MATCH, body)
        _note(traffic, answer, time.perf_counter() - at)

    started = time.perf_counter()
    asked = await at_times(due, lambda at: ask(at, next(bodies)))
    _, late = await asyncio.wait(asked, timeout=PATIENCE_S)
    traffic.seconds = time.perf_counter() - started
    for each in late:
        each.cancel()
    await asyncio.wait(asked)
    traffic.errors = len(due) - len(traffic.latencies)
    pool.close()
    return traffic


def arrivals(count: int, seconds: float, seed: int) -> list[float]:
    """Times of a Poisson process from which `count` came within `seconds`, as seconds from the start."""
    generator = random.Random(seed)
    return sorted(generator.uniform(0, seconds) for _ in range(count))


async def at_times(due: Sequence[float], start: Callable[[float], Awaitable[T]]) -> list["asyncio.Future[T]"]:
    """Starts one thing at each of the times, given its time by `time.perf_counter`; what is under way."""
    begun = time.perf_counter()
    under_way: list[asyncio.Future[T]] = []
    for at in due:
        await asyncio.sleep(max(0.0, begun + at - time.perf_counter()))
        under_way.append(asyncio.ensure_future(start(begun + at)))
    return under_way


class Pool:
    """Connections to one server, as many as are needed at once."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._idle: list[tuple[float, Connection]] = []

    async def post(self, path: str, body: bytes) -> Answer:
        """The answer to a POST; who cancels it leaves the server."""
        connection = self._take() or await open_connection(self._url)
        try:
            answer = await connection.post(path, body)
        except BaseException:
            connection.close()
            raise
        self._idle.append((time.monotonic(), connection))
        return answer

    def _take(self) -> Connection | None:
        """The one idle for the shortest time, unless the server is about to close it."""
        if self._idle and time.monotonic() - self._idle[-1][0] < KEEP_S:
            return self._idle.pop()[1]
        self.close()
        return None

    def close(self) -> None:
        """Closes those that are idle."""
        while self._idle:
            self._idle.pop()[1].close()


def _note(traffic: Traffic, answer: Answer, seconds: float) -> None:
    if answer.status == 200:
        traffic.latencies.append(seconds)
    else:
        traffic.errors += 1
