"""16 clients at once, each with a pair whose image nobody knows: servers that batch, and one that does not."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import httpx

from bench.bench import Bench
from bench.comparison import Side, compare, same_numbers
from bench.pictures import captions
from bench.process import Server, together
from bench.sides import http

Pair = tuple[bytes, str]
CLIENTS = 16
REPEATS = 3


def run(bench: Bench) -> None:
    """Pairs a second, at base size. A quick run has 4 clients, and no (c)."""
    folder = bench.checkpoint("base")
    count = 4 if bench.quick else CLIENTS

    def fastapi(dtype: str) -> AbstractContextManager[Server]:
        return bench.other("fastapi_server", str(folder), "match", dtype=dtype)

    def litserve(dtype: str) -> AbstractContextManager[Server]:
        return bench.other("litserve_server", str(folder), dtype=dtype)

    def ours(dtype: str) -> AbstractContextManager[Server]:
        return bench.serve(folder, dtype=dtype)

    starts = [("b", "float32", fastapi, _predict), ("d", bench.dtype, ours, _match)]
    if not bench.quick:
        starts += [("c", dtype, litserve, _predict) for dtype in ("float32", bench.sixteen_bits)]
    with together([start(dtype) for _, dtype, start, _ in starts]) as servers:
        sides = [
            _side(name, dtype, server, count, ask)
            for server, (name, dtype, _, ask) in zip(servers, starts, strict=True)
        ]
        sizes = [count // 2, *[count] * bench.repeats(REPEATS)]  # half of them ask in the untimed round
        rounds = [list(zip(bench.pictures.take(size), captions(size), strict=True)) for size in sizes]
        compare(bench, "clients", f"{count} clients, pairs", sides, rounds, same_numbers, many=(count, "pairs"))


def _side(
    name: str, dtype: str, server: Server, count: int, ask: Callable[[httpx.Client, Pair], float]
) -> Side[Sequence[Pair], list[float]]:
    """A server that runs only while it is asked."""

    clients = http.Clients(server.url, count, ask)

    def answer(pairs: Sequence[Pair]) -> list[float]:
        with server.awake():
            return clients(pairs)

    server.pause()
    return Side(name, f"base {dtype}", answer)


def _predict(client: httpx.Client, pair: Pair) -> float:
    score: float = http.predict(client, pair[0], caption=pair[1])["score"]
    return score


def _match(client: httpx.Client, pair: Pair) -> float:
    return http.match(client, [pair[0]], [pair[1]])[0]
