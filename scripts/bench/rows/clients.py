"""16 clients at once, each with a pair whose image nobody knows: servers that batch, or do not."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import httpx

from bench import peer
from bench.bench import Bench
from bench.comparison import Side, compare, same_numbers
from bench.pictures import captions
from bench.process import Server, together
from bench.sides import http

Pair = tuple[bytes, str]
CLIENTS = 16
REPEATS = 3


def run(bench: Bench) -> None:
    """Pairs a second, at base size, ours in float32 too for (o). A quick run has 4 clients, and no (c)."""
    folder = bench.checkpoint("base")
    count = 4 if bench.quick else CLIENTS

    def fastapi(dtype: str) -> AbstractContextManager[Server]:
        return bench.other("fastapi_server", str(folder), "match", dtype=dtype)

    def litserve(dtype: str) -> AbstractContextManager[Server]:
        return bench.other("litserve_server", str(folder), dtype=dtype)

    def ours(dtype: str) -> AbstractContextManager[Server]:
        return bench.serve(folder, dtype=dtype)

    def openvino(dtype: str) -> AbstractContextManager[Server]:
        return peer.server(bench, folder, dtype)

    types = (bench.dtype,) if bench.quick else bench.number_types
    starts = [("b", "float32", fastapi, _predict), *(("d", dtype, ours, _match) for dtype in reversed(types))]
    starts += [("o", dtype, openvino, _predict) for dtype in bench.openvino_types]
    if not bench.quick:
        starts += [("c", dtype, litserve, _predict) for dtype in bench.number_types]
    if bench.openvino_types:
        peer.converted(bench, folder)  # before servers start side by side
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
