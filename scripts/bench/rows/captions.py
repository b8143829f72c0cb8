"""Captions of 20 tokens, greedy and by beams, for one client and for 16."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

import httpx

from bench.bench import Bench
from bench.comparison import Side, compare
from bench.process import Server, together
from bench.sides import http
from bench.sides.apart import Apart
from bench.sides.card import CardCaptioner

TOKENS = 20
CLIENTS = 16
REPEATS = {"greedy": 3, "3 beams": 1}
NEAR = 0.2
"""In sixteen bits texts of random weights drift apart. How much less likely they may be to the card's model in
float32 than its own, in nats a token; its own text is 0.3 less likely for another picture, and random words 8."""


def run(bench: Bench) -> None:
    """At base size. A quick run has one client, who takes captions greedily, and only (a) and (d)."""
    folder = bench.checkpoint("base", "captioning")
    with bench.card(CardCaptioner, folder, "float32") as card:
        if bench.quick:
            with bench.serve(folder) as server:
                _one_client(bench, "greedy", 1, {"a": card}, [(bench.dtype, server)])
            return
        fastapi = bench.other("fastapi_server", str(folder), "caption", dtype="float32")
        serving = [bench.serve(folder, dtype=dtype) for dtype in bench.number_types]
        with together([fastapi, *serving]) as (other, *servers):
            ours = list(zip(bench.number_types, servers, strict=True))
            with ExitStack() as running:
                cards = {"a": card}
                for dtype in bench.sixteen_bits:
                    cards["a16"] = running.enter_context(bench.card(CardCaptioner, folder, dtype))
                _one_client(bench, "greedy", 1, cards, ours)
                _one_client(bench, "3 beams", 3, cards, ours[-1:])
            _many_clients(bench, card, other, servers[-1])


def _one_client(
    bench: Bench, name: str, beams: int, cards: Mapping[str, Apart], ours: Sequence[tuple[str, Server]]
) -> None:
    """`cards` by side, `ours` with their number types."""
    models = zip(cards.items(), bench.number_types, strict=False)
    sides: list[Side[bytes, str]] = [
        *(Side(side, f"base {dtype}", _by_card(card, beams)) for (side, card), dtype in models),
        *(Side("d", f"base {dtype}", _by_us(server, beams)) for dtype, server in ours),
    ]
    pictures = bench.pictures.take(bench.repeats(REPEATS[name]) + 1)

    def agree(model: str, picture: bytes, found: str, wanted: str) -> bool:
        if model.endswith("float32"):
            return found == wanted
        return picture is not pictures[0] or _as_likely(cards["a"], picture, found, wanted)

    compare(bench, "captions", f"1 client, {name}", sides, pictures, agree)


def _many_clients(bench: Bench, card: Apart, fastapi: Server, ours: Server) -> None:
    """Greedily; one round, for which the server that takes one request at a time needs half a minute."""
    sides: list[Side[Sequence[bytes], list[str]]] = [
        Side("b", "base float32", http.Clients(fastapi.url, CLIENTS, _predict)),
        Side("d", f"base {bench.dtype}", http.Clients(ours.url, CLIENTS, _caption)),
    ]

    def agree(model: str, pictures: Sequence[bytes], found: list[str], wanted: list[str]) -> bool:
        if model.endswith("float32"):
            return found == wanted
        return _as_likely(card, pictures[0], found[0], wanted[0])

    rounds = [bench.pictures.take(1), bench.pictures.take(CLIENTS)]
    compare(bench, "captions", "16 clients, greedy", sides, rounds, agree, many=(CLIENTS, "captions"))


def _by_card(card: Apart, beams: int) -> Callable[[bytes], str]:
    return lambda picture: card.call("caption", picture, TOKENS, beams)


def _by_us(server: Server, beams: int) -> Callable[[bytes], str]:
    return lambda picture: http.caption(server.client, picture, TOKENS, beams)


def _caption(client: httpx.Client, picture: bytes) -> str:
    return http.caption(client, picture, TOKENS, 1)


def _predict(client: httpx.Client, picture: bytes) -> str:
    text: str = http.predict(client, picture, tokens=TOKENS, beams=1)["caption"]
    return text


def _as_likely(card: Apart, picture: bytes, found: str, wanted: str) -> bool:
    ours, theirs = (card.call("likelihood", picture, text) for text in (found, wanted))
    return bool(ours > theirs - NEAR)
