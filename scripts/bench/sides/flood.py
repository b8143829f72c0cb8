"""Clients in a process of their own that embed new images of base size as fast as they are let."""

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import uvloop

from bench.bodies import EMBEDDINGS, Fresh, embed_body
from bench.connection import Answer, connect

NICE = 10
"""The priority of its process: below the server's and that of the client which is timed, on cores that all share."""


@dataclass(frozen=True, slots=True)
class Flooded:
    """Requests answered with 200, those answered otherwise with the most frequent reason, and the seconds."""

    good: int
    bad: int
    refusal: str
    seconds: float

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.good / self.seconds


class Flood:
    """One image a request, of which `under_way` are open at a time. Runs in a thread between `start` and `stop`.

    A client that is refused waits for as long as the answer says, and then asks for another image.
    """

    def __init__(self, pictures: Sequence[bytes], under_way: int) -> None:
        os.nice(NICE)
        self._fresh = Fresh(pictures)  # by a comment in the file: none is drawn or compressed
        self._under_way = under_way
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._good = 0
        self._refusals: list[str] = []
        self._started = 0.0
        self._ended = 0.0

    def start(self, url: str, tier: str, count: int) -> None:
        """Asks for at most `count` images in a service tier."""
        bodies = (embed_body([next(self._fresh)], tier) for _ in range(count))
        self._good, self._refusals = 0, []
        self._stopped.clear()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._run(url, bodies)))
        self._thread.start()

    def stop(self) -> Flooded:
        """What was answered by now. Asks no more; returns once those under way are answered too."""
        self._ended = time.perf_counter()
        good, bad = self._good, len(self._refusals)
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
        refusal = max(self._refusals, key=self._refusals.count, default="")
        return Flooded(good, bad, refusal, self._ended - self._started)

    async def _run(self, url: str, bodies: Iterator[bytes]) -> None:
        self._started = time.perf_counter()
        clients = [asyncio.ensure_future(self._client(url, bodies)) for _ in range(self._under_way)]
        await asyncio.gather(*clients)

    async def _client(self, url: str, bodies: Iterator[bytes]) -> None:
        async with connect(url) as connection:
            for body in bodies:
                answer = await connection.post(EMBEDDINGS, body)
                if self._stopped.is_set():
                    return
                await self._note(answer)

    async def _note(self, answer: Answer) -> None:
        if answer.status == 200:
            self._good += 1
            return
        self._refusals.append(f"{answer.status} {json.loads(answer.content)['error']['message']}")
        await asyncio.sleep(float(answer.headers.get("retry-after", 0.1)))
