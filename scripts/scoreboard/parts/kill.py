"""kill -9 under load, and a new start in its place."""

import asyncio
import os
import signal
import time

from bench.process import free_port
from scoreboard.board import Board
from scoreboard.load import closed_loop, of_status

PART = "kill -9"
STARTS = 3
LOAD_S = 2.0
CLIENTS = 8
SLACK = 1.2
"""Times the slowest start without load: starts differ by as much among themselves."""


def run(board: Board) -> None:
    """With the embedded checkpoints: what a start takes without load, then after a kill."""
    starts = [_start(board) for _ in range(STARTS)]
    port = free_port()
    with board.serve("kill", {}, port=port) as server:
        answered = asyncio.run(_load_and_kill(server.url, server.process.pid))
        code = server.process.wait()
    killed = time.perf_counter()
    with board.serve("kill", {}, port=port) as server:
        seconds = time.perf_counter() - killed
        again = asyncio.run(_load(server.url))
    board.add(
        PART, "ended by the signal, under load", "-9", f"{code}, after {answered} answers", code == -9 and answered > 0
    )
    asked = f"<= {SLACK * max(starts):.1f} s, {SLACK:g} times the slowest of {STARTS} other starts"
    says = f"{seconds:.1f} s ({', '.join(f'{start:.1f}' for start in starts)} s before)"
    board.add(PART, "serving again on the same port after", asked, says, seconds <= SLACK * max(starts))
    board.add(PART, "answers then, under the same load", "> 0", f"{again}", again > 0)


def _start(board: Board) -> float:
    with board.serve("kill-before", {}) as server:
        return server.start_seconds


async def _load(url: str) -> int:
    """Good answers within `LOAD_S`."""
    ended = asyncio.Event()
    clients = asyncio.create_task(closed_loop(url, CLIENTS, keep=True, until=ended))
    await asyncio.sleep(LOAD_S)
    ended.set()
    return len(of_status(await clients, 200))


async def _load_and_kill(url: str, pid: int) -> int:
    """Good answers before the kill."""
    clients = asyncio.create_task(closed_loop(url, CLIENTS, keep=True, until=asyncio.Event()))
    await asyncio.sleep(LOAD_S)
    os.kill(pid, signal.SIGKILL)
    return len(of_status(await clients, 200))
