"""The service over HTTP, on loopback, with the configuration that is shipped: pairs of an image that nobody knows."""

import asyncio
import itertools
from collections.abc import Iterator

import yaml

from bench.bodies import match_body
from bench.pictures import captions
from bench.process import running
from bench.traffic import Traffic, closed_loop
from gpu.place import CACHE, Place
from gpu.rows import Row

CLIENTS = {1: 40, 16: 800, 256: 2560}
"""How many there are at once, and how many requests they make together."""
TRIAL = {1: 4, 16: 16, 256: 256}
WARM = 32


def rows(place: Place) -> Iterator[Row]:
    """A row for each number of clients."""
    config = CACHE / f"serve-{place.device}.yaml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(yaml.safe_dump(place.shipped()))
    command = ["-m", "blip_serve", "serve", "--config", str(config)]
    with running(command, "/readyz", CACHE / "logs" / f"{config.stem}.log") as server:
        _ask(place, server.url, 4, WARM)
        for clients, count in (CLIENTS if place.on_card else TRIAL).items():
            yield row_of(place.name("retrieval"), clients, _ask(place, server.url, clients, count))


def _ask(place: Place, url: str, clients: int, count: int) -> Traffic:
    texts = itertools.cycle(captions(count))
    bodies = [match_body([data], [text]) for data, text in zip(place.take(count), texts, strict=False)]
    return asyncio.run(closed_loop(url, clients, iter(bodies), count=count))


def row_of(model: str, clients: int, traffic: Traffic) -> Row:
    """Of one client the median of a request; of more, all requests in the time they took together."""
    fast, slow = (1000 * traffic.quantile(share) for share in (0.5, 0.95))
    note = f"half answered in {fast:.1f} ms, 95% in {slow:.1f} ms; {traffic.errors} not answered with 200"
    if clients == 1:
        return Row("over HTTP, a pair", model, 1, fast, note=note)
    return Row(
        f"over HTTP, pairs of {clients} clients", model, len(traffic.latencies), 1000 * traffic.seconds, note=note
    )
