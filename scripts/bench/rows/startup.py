"""From the start of the server's process to its first answer, and the memory it has before that."""

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.bench import Bench
from bench.pictures import captions
from bench.process import Server
from bench.rows import memory
from bench.rows.gateway import DEMO
from bench.sides import http
from blip_serve.models.files import weight_files

GROUP = "start-up"
TURNS = 5
IMPORT = "import torch, transformers"
PIECE = 1 << 24
"""Bytes read at a time."""


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds until ready, to the first answer, and for a second image; megabytes in memory when it was ready."""

    ready: float
    first: float
    image: float
    resident: float


def run(bench: Bench) -> None:
    """Each size in turn with the demo checkpoint and what every user of the libraries waits for; then replicas."""
    for size in bench.sizes:
        _turns(bench, size, bench.checkpoint(size))
    if not bench.quick and bench.device == "cpu":
        _replicas(bench, bench.checkpoint("base"))


def _turns(bench: Bench, size: str, folder: Path) -> None:
    """Files are not in the system's cache for this size, and are for the demo checkpoint."""
    imports, reads, demos, starts = [], [], [], []
    for _ in range(bench.repeats(TURNS)):
        imports.append(_import())
        demos.append(_start(bench, DEMO))
        reads.append(_cold_read(folder))
        _forget(folder)
        starts.append(_start(bench, folder))
    model, demo = f"{size} {bench.dtype}", f"demo {bench.dtype}"
    if size == bench.sizes[0]:
        _add(bench, demo, demos)
        bench.add(GROUP, IMPORT, "d", demo, "s", imports)
        ratios = [start.first / each for start, each in zip(demos, imports, strict=True)]
        bench.add(GROUP, "demo over the import", "d", demo, "x", ratios, note=f"first pair, in turns with `{IMPORT}`")
    _add(bench, model, starts)
    more = [
        (start.first - demo.first) / (read + start.image)
        for start, demo, read in zip(starts, demos, reads, strict=True)
    ]
    bench.add(GROUP, "cold read of the file", "d", model, "s", reads)
    note = "first pair less the demo's, over a cold read of the file and one image"
    bench.add(GROUP, "beyond the demo", "d", model, "x", more, note=note)


def _add(bench: Bench, model: str, starts: list[Start]) -> None:
    bench.add(GROUP, "/readyz answers 200", "d", model, "s", [start.ready for start in starts])
    bench.add(GROUP, "first pair answered", "d", model, "s", [start.first for start in starts])
    bench.add(memory.GROUP, "at rest", "d", model, "MB", [start.resident for start in starts])


def _import() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORT], check=True)
    return time.perf_counter() - started


def _start(bench: Bench, folder: Path) -> Start:
    with bench.serve(folder) as server:
        resident = memory.resident(server)
        first = server.start_seconds + _answer(bench, server)
        return Start(server.start_seconds, first, _answer(bench, server), resident)


def _answer(bench: Bench, server: Server) -> float:
    """Seconds for a new image with a caption."""
    picture = bench.pictures.take(1)
    started = time.perf_counter()
    http.match(server.client, picture, captions(1))
    return time.perf_counter() - started


def _cold_read(folder: Path) -> float:
    """Seconds to read the checkpoint's weights from the disk."""
    _forget(folder)
    started = time.perf_counter()
    for file in weight_files(folder):
        with file.open("rb", buffering=0) as opened:
            while opened.read(PIECE):
                pass
    return time.perf_counter() - started


def _forget(folder: Path) -> None:
    """Has the system drop the weights from its cache; it keeps what another process maps."""
    for file in weight_files(folder):
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _replicas(bench: Bench, folder: Path) -> None:
    """The memory of two servers of one checkpoint beside that of one, in float32, which the weights' file holds."""
    with ExitStack() as running:
        held: list[float] = []
        servers: list[Server] = []
        for _ in range(2):
            servers.append(running.enter_context(bench.serve(folder, dtype="float32")))
            for server in servers:
                _answer(bench, server)
            held.append(sum(map(memory.proportional, servers)))
    note = "proportional set size of two processes over that of the first alone, after answers of each"
    bench.add(memory.GROUP, "two replicas", "d", "base float32", "x", [held[1] / held[0]], note=note)
