"""Captions of 20 tokens, greedy and by beams, for one client and for 16."""

from collections.abc import Callable, Sequence

import httpx

from bench.bench import Bench
from bench.comparison import Side, compare
from bench.process import Server
from bench.sides import http
from bench.sides.card import CardCaptioner

TOKENS = 20
CLIENTS = 16
BEAMS = {"greedy": 1, "3 beams": 3}
REPEATS = 5


def run(bench: Bench) -> None:
    """At base size."""
    folder = bench.checkpoint("base", "captioning")
    with bench.serve(folder, dtype="float32") as exact, bench.serve(folder) as server:
        _one_client(bench, exact, server)
        with bench.other("fastapi_server", str(folder), "caption", dtype="float32") as fastapi:
            _many_clients(bench, fastapi, exact, server)


def _one_client(bench: Bench, exact: Server, server: Server) -> None:
    folder = bench.checkpoint("base", "captioning")
    card, card16 = (CardCaptioner(folder, dtype, bench.device) for dtype in ("float32", bench.sixteen_bits))
    for name, beams in BEAMS.items():
        sides: list[Side[bytes, str]] = [
            Side("a", "base float32", _by_card(card, beams)),
            Side("a16", f"base {bench.sixteen_bits}", _by_card(card16, beams)),
            Side("d", "base float32", _by_us(exact, beams)),
            Side("d", f"base {bench.dtype}", _by_us(server, beams)),
        ]
        pictures = bench.pictures.take(bench.repeats(REPEATS) + 1)
        compare(bench, "captions", f"1 client, {name}", sides, pictures, _same_text)


def _many_clients(bench: Bench, fastapi: Server, exact: Server, server: Server) -> None:
    """Greedily. No round is only to warm up: the server that takes one request at a time would need half a minute."""
    count = 4 if bench.quick else CLIENTS
    sides: list[Side[Sequence[bytes], list[str]]] = [
        Side("b", "base float32", http.Clients(fastapi.url, count, _predict)),
        Side("d", "base float32", http.Clients(exact.url, count, _caption)),
        Side("d", f"base {bench.dtype}", http.Clients(server.url, count, _caption)),
    ]
    rounds = [bench.pictures.take(count) for _ in range(bench.repeats(2))]
    compare(bench, "captions", f"{count} clients, greedy", sides, rounds, _same_texts, warm=0, many=(count, "captions"))


def _by_card(card: CardCaptioner, beams: int) -> Callable[[bytes], str]:
    return lambda picture: card.caption(picture, TOKENS, beams)


def _by_us(server: Server, beams: int) -> Callable[[bytes], str]:
    return lambda picture: http.caption(server.client, picture, TOKENS, beams)


def _caption(client: httpx.Client, picture: bytes) -> str:
    return http.caption(client, picture, TOKENS, 1)


def _predict(client: httpx.Client, picture: bytes) -> str:
    text: str = http.predict(client, picture, tokens=TOKENS, beams=1)["caption"]
    return text


def _same_texts(model: str, found: Sequence[str], wanted: Sequence[str]) -> bool:
    return all(_same_text(model, *pair) for pair in zip(found, wanted, strict=True))


def _same_text(model: str, found: str, wanted: str) -> bool:
    """In float32 every word; in sixteen bits texts drift apart, and only begin alike."""
    return found == wanted if model.endswith("float32") else found.split()[:1] == wanted.split()[:1]
