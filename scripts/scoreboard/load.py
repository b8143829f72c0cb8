"""Sends requests to a fake model and records their outcomes."""

import asyncio
import json
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.bodies import MATCH
from bench.connection import Connection, open_connection
from bench.traffic import Pool, arrivals, at_times
from tests.support.pictures import data_uri, picture

PAIR = json.dumps({"image": data_uri(picture(1)), "caption": "a red circle", "scores": ["itm"]}).encode()
"""To `/v1/match`: one image and one caption."""
ONE_PAIR: Mapping[str, Any] = {
    "max_images": 1,
    "max_zip_pairs": 1,
    "max_captions": 1,
    "max_pairs": 1,
    "max_choices": 1,
    "max_beams": 1,
    "max_new_tokens": 1,
}
"""Limits under which no request is larger than `PAIR`, so that the queue may be as short as a test needs."""
PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """A request due `at` (`time.perf_counter`): its status (0: no answer), and the seconds until its end."""

    at: float
    status: int
    seconds: float


async def open_loop(url: str, rate: float, seconds: float, seed: int) -> list[Outcome]:
    """Requests `PAIR` as an open loop: a Poisson process of `rate` per second, independent of earlier answers."""
    pool = Pool(url)

    async def ask(at: float) -> Outcome:
        try:
            answer = await pool.post(MATCH, PAIR)
        except (OSError, asyncio.IncompleteReadError):
            return Outcome(at, 0, time.perf_counter() - at)
        return Outcome(at, answer.status, time.perf_counter() - at)

    asked = await at_times(arrivals(round(rate * seconds), seconds, seed), ask)
    try:
        return list(await asyncio.wait_for(asyncio.gather(*asked), PATIENCE_S))
    finally:
        pool.close()


def of_status(outcomes: Iterable[Outcome], *statuses: int) -> list[float]:
    """The seconds of those answered so."""
    return [outcome.seconds for outcome in outcomes if outcome.status in statuses]


def p99(seconds: Sequence[float]) -> float:
    """The 99th percentile of the latencies; 0 if there are none."""
    if len(seconds) < 2:
        return max(seconds, default=0.0)
    return statistics.quantiles(seconds, n=100, method="inclusive")[98]


async def closed_loop(url: str, clients: int, *, keep: bool, until: asyncio.Event) -> list[Outcome]:
    """A closed loop: each of `clients` requests `PAIR` again and again, until the event or the end of the server.

    `keep`: on one connection as long as the server keeps it, else on a new one each time.
    """
    outcomes: list[Outcome] = []

    async def client() -> None:
        connection: Connection | None = None
        while not until.is_set():
            try:
                connection = connection or await open_connection(url)
            except OSError:
                return
            at = time.perf_counter()
            try:
                answer = await connection.post(MATCH, PAIR)
            except (OSError, asyncio.IncompleteReadError):
                answer = None
            outcomes.append(Outcome(at, answer.status if answer else 0, time.perf_counter() - at))
            if not (keep and answer and answer.headers.get("connection") != "close"):
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return outcomes
