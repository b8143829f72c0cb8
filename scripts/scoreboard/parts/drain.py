"""SIGTERM under load: not ready first, every request accepted is answered, exit code 0."""

import asyncio
import os
import signal
import time
from dataclasses import dataclass, field

from bench.connection import connect
from bench.process import Server
from scoreboard.board import Board
from scoreboard.load import Outcome, closed_loop, of_status

PART = "drain"
STEP_S = 0.05
DELAY_S, DRAIN_S = 2.0, 10.0
KEPT, FRESH = 12, 4
"""Clients on kept connections, and on a new one a request."""
BEFORE_S = 2.0
PROBE_S = 0.02
CLOSING_S = 0.1
"""Before the end of the delay: who comes as the port closes may find that nobody reads it."""
END_S = 2.0
"""From the end of the delay and the last answer to the end of the process."""


@dataclass(slots=True)
class Drained:
    """What came of it. Times by `time.perf_counter`; `probes`: when `/readyz` was asked, and its status."""

    outcomes: list[Outcome] = field(default_factory=list)
    probes: list[tuple[float, int]] = field(default_factory=list)
    signalled: float = 0.0
    hung: int = 0


def run(board: Board) -> None:
    """Clients ask on and on; the signal comes in between."""
    settings = {"server": {"shutdown_delay_s": DELAY_S, "drain_timeout_s": DRAIN_S}}
    with board.serve(PART, settings, fake_step_s=STEP_S) as server:
        seen = asyncio.run(_drain(server))
        code = server.process.wait(DRAIN_S)
        seconds = time.perf_counter() - seen.signalled
    _report(board, seen, code, seconds)


async def _drain(server: Server) -> Drained:
    """Until nobody listens any more."""
    seen, ended = Drained(), asyncio.Event()
    clients = [
        asyncio.create_task(closed_loop(server.url, KEPT, keep=True, until=ended)),
        asyncio.create_task(closed_loop(server.url, FRESH, keep=False, until=ended)),
    ]
    probes = asyncio.create_task(_probe(server.url, seen.probes))
    await asyncio.sleep(BEFORE_S)
    seen.signalled = time.perf_counter()
    os.kill(server.process.pid, signal.SIGTERM)
    _, late = await asyncio.wait([*clients, probes], timeout=DELAY_S + DRAIN_S)
    ended.set()
    for task in late:
        task.cancel()
    seen.hung = sum(task in late for task in clients)
    seen.outcomes = [outcome for task in clients if task not in late for outcome in task.result()]
    return seen


async def _probe(url: str, probes: list[tuple[float, int]]) -> None:
    """As a balancer does, until it finds nobody."""
    while True:
        try:
            async with connect(url) as connection:
                probes.append((time.perf_counter(), (await connection.get("/readyz")).status))
        except (OSError, asyncio.IncompleteReadError):
            return
        await asyncio.sleep(PROBE_S)


def _report(board: Board, seen: Drained, code: int, seconds: float) -> None:
    before = [outcome for outcome in seen.outcomes if outcome.at < seen.signalled]
    flying = [outcome for outcome in before if outcome.at + outcome.seconds > seen.signalled]
    after = [outcome for outcome in seen.outcomes if outcome.at >= seen.signalled]
    lost = len(before) - len(of_status(before, 200))
    says = f"{lost} of {len(before)}, of which {len(flying)} were in flight"
    board.add(PART, "requests sent before SIGTERM and not answered 200", "0", says, bool(flying) and not lost)
    closing = seen.signalled + DELAY_S - CLOSING_S
    early, late = [o for o in after if o.at < closing], [o for o in after if o.at >= closing]
    lost, unread = len(of_status(early, 0)), len(of_status(late, 0))
    says = f"{lost} of {len(early)}; of {len(late)} sent as it closes {unread} unread"
    board.add(
        PART, "requests sent after it, before the port closes, and not answered", "0", says, bool(early) and not lost
    )
    board.add(PART, "clients that still wait at the end", "0", f"{seen.hung}", not seen.hung)
    odd = len(after) - lost - unread - len(of_status(after, 200, 503))
    served = f"{odd}; 200: {len(of_status(after, 200))}, 503: {len(of_status(after, 503))}"
    board.add(PART, "of all these, answers other than 200 and 503", "0", served, not odd)
    unready = [at for at, status in seen.probes if status == 503]
    last_good = max((outcome.at for outcome in after if outcome.status == 200), default=0.0)
    says = f"first after {1000 * (unready[0] - seen.signalled):.0f} ms" if unready else "never"
    well = bool(unready) and unready[0] < last_good
    board.add(PART, "`/readyz` 503 on new connections, while requests are still served", "seen", says, well)
    board.add(PART, "exit code", "0", f"{code}", code == 0)
    limit = DELAY_S + END_S
    asked = f"<= {DELAY_S:g} s of delay + {END_S:g} s"
    board.add(PART, "from SIGTERM to the end", asked, f"{seconds:.2f} s", seconds <= limit)
