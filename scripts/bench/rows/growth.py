"""How costs grow: with the captions of an image, with the images of a request, and with the clients waiting."""

import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice

import httpx
import uvloop

from bench.bench import Bench
from bench.bodies import MATCH, Fresh, known, match_body
from bench.measure import alternate
from bench.pictures import captions
from bench.rows.gateway import DEMO
from bench.sides import http
from bench.traffic import closed_loop

GROUP = "growth"
CAPTIONS = (1, 4, 16, 64, 256, 1000)
IMAGES = (1, 4, 16, 256)
CLIENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
QUICK = 2
ENOUGH_S, REPEATS = 3.0, 5
"""A number of images is timed for so long, or so often."""
ROUNDS = 3
"""Of captions, whose counts take turns: what slows the machine for seconds slows few and many."""
CLIENT_S = 1.0
LIMITS = {"max_images": max(IMAGES)}


def run(bench: Bench) -> None:
    """All three."""
    with bench.serve(bench.checkpoint("base"), limits=LIMITS) as server:
        _captions(bench, server.client)
        _images(bench, server.client)
    with bench.serve(DEMO) as server:
        uvloop.run(_clients(bench, server.url))


def _captions(bench: Bench, client: httpx.Client) -> None:
    """Of one image that the service knows."""
    [picture], texts = bench.pictures.take(1), captions(max(CAPTIONS))
    http.match(client, [picture], texts[:1])
    places = _places(bench, CAPTIONS)
    ask = {str(count): partial(_ask, client, match_body([picture], texts[:count])) for count in places}
    seconds = alternate(ask, bench.repeats(ROUNDS), warm=0)
    for count in places:
        values = [1000 * each / count for each in seconds[str(count)]]
        bench.add(GROUP, "a caption of a known image", "d", f"base {bench.dtype}", "ms", values, count)


def _images(bench: Bench, client: httpx.Client) -> None:
    """New ones, with a caption."""
    fresh, texts = Fresh(bench.pictures.take(16)), captions(1)
    for count in _places(bench, IMAGES):
        seconds = _timed(bench, client, (match_body(list(islice(fresh, count)), texts) for _ in range(REPEATS + 1)))
        values = [1000 * each / count for each in seconds]
        bench.add(GROUP, "a new image with a caption", "d", f"base {bench.dtype}", "ms", values, count)


async def _clients(bench: Bench, url: str) -> None:
    """That wait for their answers, each with one of some known pictures."""
    bodies = known(bench.pictures.take(16), captions(16))
    await closed_loop(url, 16, bodies, count=64)
    for count in _places(bench, CLIENTS):
        traffic = await closed_loop(url, count, bodies, seconds=0.3 if bench.quick else CLIENT_S)
        note = f"{traffic.errors} of {traffic.errors + len(traffic.latencies)} not answered" if traffic.errors else ""
        model = f"demo {bench.dtype}"
        bench.add(GROUP, "clients: pairs a second", "d", model, "pairs/s", [traffic.rate], count, note)
        milliseconds = [1000 * each for each in traffic.latencies]
        bench.add(GROUP, "clients: latency", "d", model, "ms", milliseconds, count, note)


def _places(bench: Bench, places: Sequence[int]) -> Sequence[int]:
    return places[:QUICK] if bench.quick else places


def _timed(bench: Bench, client: httpx.Client, bodies: Iterator[bytes]) -> list[float]:
    """Seconds of requests after one untimed, until there are enough; the untimed one counts where it took that long."""
    seconds: list[float] = []
    for body in bodies:
        started = time.perf_counter()
        _ask(client, body)
        seconds.append(time.perf_counter() - started)
        if bench.quick or sum(seconds) > ENOUGH_S:
            break
    return seconds[1:] or seconds


def _ask(client: httpx.Client, body: bytes) -> None:
    client.post(MATCH, content=body, headers={"content-type": "application/json"}).raise_for_status()
