"""Uploads that flood a decoder, six of each at once, beside a client with an image that is known and small new ones."""

import asyncio
import itertools
import time
from collections.abc import Iterator

import httpx

from blip_serve.keys import digest
from scoreboard.board import Board
from scoreboard.flood_files import FLOODS
from scoreboard.load import p99
from scoreboard.memory import MB
from scoreboard.watch import watched
from tests.support.pictures import encoded, picture

PART = "floods"
AT_ONCE = 6
ROUNDS = 5
"""Times that the six come again: the good client is to be asked often enough for a p99."""
QUICK_ROUNDS = 1
GOOD_S = 0.5
GROWTH = 1.1
MATCH = "/v1/match"
SETTINGS = {
    "auth": {"keys": [{"name": name, "sha256": digest(name)} for name in ("good", "bad")]},
    "images": {"cache_tokens_bytes": 2**22, "cache_vectors_bytes": 2**18},
    "server": {"metrics": "open"},
}


def run(board: Board) -> None:
    """On the embedded checkpoints; the generator of the uploads shares the cores."""
    files = {name: make() for name, make in FLOODS.items()}
    rounds = QUICK_ROUNDS if board.quick else ROUNDS
    with board.serve(PART, SETTINGS) as server, watched(server.process.pid) as watch:
        asyncio.run(_beside(server.url, dict.fromkeys(files, encoded(picture(0))), 1))  # a warm-up
        before = watch.samples[-1][1]
        for name, data in files.items():
            good, statuses = asyncio.run(_beside(server.url, {name: data}, rounds))
            says = f"{1000 * p99(good):.0f} ms over {len(good)}; uploads answered {sorted(set(statuses))}"
            passed = p99(good) <= GOOD_S and set(statuses) <= {200, 400}
            board.add(PART, f"{AT_ONCE} at once: {name}; the good client's p99", f"<= {GOOD_S:g} s", says, passed)
        asyncio.run(_beside(server.url, {}, 1))
        after = watch.samples[-1][1]
    says = f"{before / MB:.0f} MB before, {after / MB:.0f} after"
    board.add(PART, "resident memory afterwards", f"<= {GROWTH:.0%} of before", says, after <= GROWTH * before)


async def _beside(url: str, files: dict[str, bytes], rounds: int) -> tuple[list[float], list[int]]:
    """The good client's seconds while the files are uploaded, `AT_ONCE` of each at a time; and their statuses."""
    statuses: list[int] = []
    good: list[float] = []
    async with _client(url, "bad") as bad, _client(url, "good") as client:
        known = encoded(picture(1))
        await _ask(client, known)

        async def upload() -> None:
            for _, data in itertools.product(range(rounds), files.values()):
                answers = await asyncio.gather(*(_ask(bad, data) for _ in range(AT_ONCE)))
                statuses.extend(answer.status_code for answer in answers)

        uploads = asyncio.create_task(upload())
        for image in _pictures(known):
            started = time.perf_counter()
            (await _ask(client, image)).raise_for_status()
            good.append(time.perf_counter() - started)
            if uploads.done():
                break
        await uploads
    return good, statuses


def _pictures(known: bytes) -> Iterator[bytes]:
    """Known and new by turns."""
    for seed in itertools.count(1000):
        yield known
        yield encoded(picture(seed))


def _client(url: str, key: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=120, trust_env=False)


async def _ask(client: httpx.AsyncClient, image: bytes) -> httpx.Response:
    return await client.post(MATCH, files={"image": image}, data={"caption": "a red circle"})
