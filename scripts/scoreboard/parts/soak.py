"""Ten minutes of everything at once: memory, descriptors and threads stay as they are."""

import asyncio
import statistics
import time

import psutil

from blip_serve.api.protocol import LINGER_S
from scoreboard.board import Board
from scoreboard.memory import MB, growth
from scoreboard.mixed import Mixed, unexpected
from scoreboard.watch import watched

PART = "soak"
SECONDS, WARM_S = 600.0, 60.0
QUICK_SECONDS, QUICK_WARM_S = 30.0, 10.0
CLIENTS = 4
ROUND_S, QUIET_S = 10.0, LINGER_S + 0.5
"""Load, then a rest in which no connection is open, and none lingers, and descriptors and threads are counted."""
MOST_GROWTH, QUICK_MOST_GROWTH = 0.01, 0.05
SEED = 13
SETTINGS = {"images": {"cache_tokens_bytes": 2**22, "cache_vectors_bytes": 2**18}}
"""Caches so small that they are full within the first minute: what they are allowed to keep is no leak."""


def run(board: Board) -> None:
    """On the embedded checkpoints."""
    seconds, warm = (QUICK_SECONDS, QUICK_WARM_S) if board.quick else (SECONDS, WARM_S)
    with board.serve(PART, SETTINGS) as server, watched(server.process.pid) as watch:
        server.client.close()  # its connection would be counted, until the service closes it as idle
        process, mixed = psutil.Process(server.process.pid), Mixed(server.url, SEED)
        started = time.monotonic()
        counts: list[tuple[int, int]] = []
        while time.monotonic() - started < seconds:
            asyncio.run(mixed.load(CLIENTS, ROUND_S))
            time.sleep(QUIET_S)
            if time.monotonic() - started >= warm:
                counts.append((process.num_fds(), process.num_threads()))
    odd = unexpected(mixed.statuses)
    says = f"{mixed.statuses.total()} in {seconds:.0f} s, {odd} unexpected"
    board.add(PART, "requests of every kind, and answers none of them should get", "0 of the latter", says, not odd)
    samples = watch.after(warm)
    rise = growth(samples)
    sizes = [size / MB for _, size in samples]
    says = f"{rise:+.2%}; {sizes[0]:.0f} to {sizes[-1]:.0f} MB, median {statistics.median(sizes):.0f}"
    what = f"rise of resident memory after the first {warm:.0f} s"
    most = QUICK_MOST_GROWTH if board.quick else MOST_GROWTH  # caches are not yet full
    board.add(PART, what, f"< {most:.0%}", says, rise < most)
    for name, values in zip(("descriptors", "threads"), zip(*counts, strict=True), strict=True):
        says = f"{min(values)} to {max(values)}, {values[0]} first, {values[-1]} last"
        board.add(PART, f"{name} at rest", "constant", says, min(values) == max(values))
