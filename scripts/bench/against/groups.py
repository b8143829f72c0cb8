"""The rows, by group: those of `make bench` that are asked of our service over HTTP."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice, repeat
from pathlib import Path

import uvloop

from bench.against import asking
from bench.against.asking import Measure
from bench.against.checkout import Checkout
from bench.against.turns import Comparison, Figures, take_turns
from bench.bench import CACHE
from bench.bodies import CHAT, EMBEDDINGS, MATCH, Fresh, caption_body, embed_body, known, match_body, unknown
from bench.checkpoints import checkpoint
from bench.pictures import captions
from bench.process import Server, together
from bench.rows import memory
from bench.rows.captions import TOKENS
from bench.rows.continuous import TOKENS as LENGTHS
from bench.rows.gateway import CLIENTS, DEMO
from bench.sides import http
from bench.traffic import closed_loop

SEED = 11
LEAST = 4
"""Pairs of turns of the longest rows."""
STREAMED = 12
"""Captions of a turn that come by chance."""
MANY = 1000
"""Requests before memory is read."""


@dataclass(frozen=True, slots=True)
class Race:
    """The two checkouts, their pictures, and how many pairs of turns a short row has; long rows have fewer.

    `fresh`: the pictures without end, each met once.
    """

    before: Checkout
    after: Checkout
    pictures: Sequence[bytes]
    fresh: Fresh
    pairs: int

    def run(self, group: str, folder: Path, measures: Sequence[tuple[Measure, float]]) -> list[Comparison]:
        """Rows of `measures`, each with its share of `pairs`, against two servers that run side by side.

        Long rows, of a small share, have no untimed turns: the rows before them have warmed the servers.
        """
        with together([each.serve(folder) for each in (self.before, self.after)]) as (before, after):
            return list(
                chain.from_iterable(
                    take_turns(group, measure, before, after, self.count(share), warm=int(share >= 0.5))
                    for measure, share in measures
                )
            )

    def count(self, share: float) -> int:
        """Pairs of turns, an even number so that each side is as often first."""
        return max(LEAST, 2 * round(share * self.pairs / 2))


def fresh_bodies(race: Race, make: Callable[[Sequence[bytes]], bytes], count: int = 1) -> Iterator[bytes]:
    """Requests without end of `count` pictures each that nobody was given before."""
    return (make(list(islice(race.fresh, count))) for _ in repeat(None))


def pairs(race: Race) -> list[Comparison]:
    """One client with a retrieval checkpoint of base size; also embeddings, the gateway and the vision tower."""
    one, few, many = captions(1), captions(64), captions(1000)
    match = partial(fresh_bodies, race)
    picture = race.pictures[0]
    refused = json.dumps(json.loads(match_body([picture], one)) | {"model": "unknown"}).encode()
    ask = asking.one_by_one
    return race.run(
        "pairs",
        checkpoint(CACHE, "base", "retrieval"),
        [
            (ask("new image x 1 caption", MATCH, match(lambda new: match_body(new, one)), 3, "gateway", "device"), 1),
            (ask("new image x 64 captions", MATCH, match(lambda new: match_body(new, few)), 1), 0.5),
            (ask("16 new images x 1 caption", MATCH, match(lambda new: match_body(new, one), 16), 1, warm=0), 0.2),
            (ask("known image x 1 caption", MATCH, known([picture], one), 20, "gateway", "device"), 1),
            (ask("known image x 1,000 captions", MATCH, repeat(match_body([picture], many)), 1, warm=0), 0.2),
            (ask("embeddings: 1 image", EMBEDDINGS, match(embed_body), 3, "device"), 1),
            (ask("embeddings: 4 images", EMBEDDINGS, match(embed_body, 4), 1, "device"), 0.5),
            (ask("embeddings: 64 texts", EMBEDDINGS, repeat(embed_body(few)), 3), 1),
            (asking.wire("over the wire: an empty request", None, 200), 1),
            (asking.wire("over the wire: 100 kB refused for its model", refused, 100), 1),
        ],
    )


def writing(race: Race) -> list[Comparison]:
    """Captions of a checkpoint of base size, for one client, for many at once, and by chance."""
    fresh = partial(fresh_bodies, race)
    generator = random.Random(SEED)
    lengths = [generator.randint(*LENGTHS) for _ in range(STREAMED)]

    def by(beams: int, stream: bool) -> Iterator[bytes]:
        return fresh(lambda new: caption_body(new[0], TOKENS, beams=beams, stream=stream))

    def streams() -> list[bytes]:
        return [caption_body(next(race.fresh), tokens) for tokens in lengths]

    return race.run(
        "captions",
        checkpoint(CACHE, "base", "captioning"),
        [
            (asking.one_by_one("greedy", CHAT, by(1, False), 1, "gateway"), 1),
            (asking.one_by_one("streamed", CHAT, by(1, True), 1), 1),
            (asking.one_by_one("3 beams", CHAT, by(3, False), 1), 0.5),
            (asking.captions_at_once(f"{CLIENTS} clients, greedy", CLIENTS, by(1, False)), 0.3),
            (asking.captions_by_chance("continuous", 1.5, lengths, streams), 0.2),
        ],
    )


def clients(race: Race) -> list[Comparison]:
    """Many clients, with a retrieval checkpoint of base size."""
    folder, texts = checkpoint(CACHE, "base", "retrieval"), captions(len(race.pictures))
    old, new = known(race.pictures, texts), unknown(race.fresh, texts)
    with race.before.serve(folder) as server:
        uvloop.run(closed_loop(server.url, CLIENTS, old, count=2 * len(race.pictures)))
        reached = uvloop.run(closed_loop(server.url, CLIENTS, old, seconds=4)).rate
    return race.run(
        "clients",
        folder,
        [
            (asking.waiting_clients(f"{CLIENTS} clients, new images", CLIENTS, new, count=2 * CLIENTS), 0.5),
            (asking.waiting_clients(f"{CLIENTS} clients, known images", CLIENTS, old, seconds=2), 0.5),
            (asking.by_chance(f"known images, {0.6 * reached:.0f} a second", 0.6 * reached, 4, old), 0.5),
        ],
    )


def gateway(race: Race) -> list[Comparison]:
    """Many clients of the demo checkpoint, whose device has little to do."""
    texts = captions(len(race.pictures))
    old, new = known(race.pictures, texts), unknown(race.fresh, texts)
    return race.run(
        "gateway",
        DEMO,
        [
            (asking.waiting_clients(f"demo, {CLIENTS} clients, known images", CLIENTS, old, seconds=1.5), 1),
            (asking.waiting_clients(f"demo, {CLIENTS} clients, new images", CLIENTS, new, seconds=1.5), 1),
            (asking.waiting_clients("demo, 256 clients, known images", 256, old, seconds=1.5), 0.5),
        ],
    )


def starts(race: Race) -> list[Comparison]:
    """A server of its own each turn: its start, its memory at rest, and after many requests."""

    def start(name: str, folder: Path, checkout: Checkout) -> Figures:
        with checkout.serve(folder) as server:
            at_rest = memory.resident(server)
            http.match(server.client, race.pictures[:1], captions(1))
            return {
                (f"{name}: /readyz answers 200", "s"): server.start_seconds,
                (f"{name}: memory at rest", "MB"): at_rest,
            }

    def load(name: str, folder: Path, count: int, checkout: Checkout) -> Figures:
        with checkout.serve(folder, log={"level": "warning"}) as server:
            _mixed(race, server, count)
            return {(f"{name}: memory after {count} requests", "MB"): memory.resident(server)}

    base = checkpoint(CACHE, "base", "retrieval")
    turns: list[tuple[Callable[[Checkout], Figures], float]] = [
        (partial(start, "base", base), 0.5),
        (partial(start, "demo", DEMO), 0.5),
        (partial(load, "base", base, 100), 0.2),
        (partial(load, "demo", DEMO, MANY), 0.2),
    ]
    return list(
        chain.from_iterable(
            take_turns("start-up and memory", measure, race.before, race.after, race.count(share), warm=0)
            for measure, share in turns
        )
    )


def _mixed(race: Race, server: Server, count: int) -> None:
    texts = captions(len(race.pictures))
    mixed = chain.from_iterable(zip(known(race.pictures, texts), unknown(race.fresh, texts), strict=True))
    uvloop.run(closed_loop(server.url, CLIENTS, mixed, count=count))


GROUPS = {"pairs": pairs, "captions": writing, "clients": clients, "gateway": gateway, "starts": starts}
