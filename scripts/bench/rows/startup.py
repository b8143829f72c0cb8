"""From the start of the server's process to its first answer, and the memory it has before that."""

import time
from pathlib import Path

from bench.bench import Bench
from bench.pictures import captions
from bench.rows import memory
from bench.rows.gateway import DEMO
from bench.sides import http

GROUP = "start-up"


def run(bench: Bench) -> None:
    """Of the demo checkpoint and of the full sizes; their files are in the system's cache, as after a first start."""
    folders: dict[str, Path] = {size: bench.checkpoint(size) for size in bench.sizes}
    if not bench.quick:
        folders["demo"] = DEMO
    for size, folder in folders.items():
        model = f"{size} {bench.dtype}"
        with bench.serve(folder) as server:
            resident = memory.resident(server)
            started = time.perf_counter()
            http.match(server.client, bench.pictures.take(1), captions(1))
            first = server.start_seconds + time.perf_counter() - started
        bench.add(GROUP, "/readyz answers 200", "d", model, "s", [server.start_seconds])
        bench.add(GROUP, "first pair answered", "d", model, "s", [first])
        bench.add(memory.GROUP, "at rest", "d", model, "MB", [resident])
