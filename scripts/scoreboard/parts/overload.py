"""More requests than the service can answer: it answers as many as ever, refuses the others at once, and none late."""

import asyncio
import itertools
from functools import partial

from bench.traffic import closed_loop
from blip_serve.domain import request_cost
from scoreboard.board import Board
from scoreboard.load import ONE_PAIR, PAIR, Outcome, of_status, open_loop, p99

PART = "overload"
STEP_S = 0.04
CLIENTS = 16
TIMES = (1, 2, 5)
SECONDS, QUICK_SECONDS = 20.0, 5.0
DEADLINE_S = 2.0
SHORT_DEADLINE_S = 1.0
PLACES = 32
"""Requests that the queue holds: at most so long a wait that the last is answered in time."""
MANY_PLACES = 1024
"""So many that most of them cannot be answered in time."""
GOODPUT = 0.9
REFUSAL_S = 0.05
SLACK_S = 0.1
"""For an answer's way back to a client that shares the cores."""
SEED = 7


def run(board: Board) -> None:
    """A queue as it should be, then one that is far too long."""
    _short_queue(board)
    _long_queue(board)


def _short_queue(board: Board) -> None:
    seconds = QUICK_SECONDS if board.quick else SECONDS
    with board.serve(PART, _settings(PLACES, DEADLINE_S), fake_step_s=STEP_S) as server:
        capacity = _capacity(server.url, seconds / 4)
        seen = {times: asyncio.run(open_loop(server.url, times * capacity, seconds, SEED + times)) for times in TIMES}
    add = partial(board.add, PART)
    once = len(of_status(seen[1], 200)) / seconds
    add(
        f"capacity: {CLIENTS} waiting clients, steps of {1000 * STEP_S:.0f} ms, client and service on the same cores",
        "> 10/s",
        f"{capacity:.0f}/s; offered as much by chance, {once:.0f}/s are answered",
        capacity > 10,
    )
    for times in TIMES[1:]:
        good = len(of_status(seen[times], 200)) / seconds
        add(f"goodput at {times}x capacity", f">= {GOODPUT:.0%} of 1x", f"{good / once:.0%}", good >= GOODPUT * once)
        refusals = of_status(seen[times], 429)
        slow = p99(refusals)
        says = f"{1000 * slow:.0f} ms over {len(refusals)}"
        add(f"refusals at {times}x, p99", f"< {1000 * REFUSAL_S:.0f} ms", says, bool(refusals) and slow < REFUSAL_S)
    every = list(itertools.chain(*seen.values()))
    others = len(every) - len(of_status(every, 200, 429))
    add("answers other than 200 and 429", "0", f"{others} of {len(every)}", not others)
    _in_time(board, "a queue of 32", every, DEADLINE_S)


def _long_queue(board: Board) -> None:
    seconds = QUICK_SECONDS if board.quick else SECONDS
    settings = _settings(MANY_PLACES, SHORT_DEADLINE_S)
    with board.serve(f"{PART}-long", settings, fake_step_s=STEP_S) as server:
        capacity = _capacity(server.url, seconds / 4)
        seen = asyncio.run(open_loop(server.url, 2 * capacity, seconds, SEED))
    dropped = len(of_status(seen, 503))
    board.add(
        PART, f"a queue of {MANY_PLACES} at 2x: requests dropped for their deadline", "> 0", f"{dropped}", dropped > 0
    )
    _in_time(board, f"a queue of {MANY_PLACES} at 2x", seen, SHORT_DEADLINE_S)


def _in_time(board: Board, where: str, outcomes: list[Outcome], deadline_s: float) -> None:
    latest = max(outcome.seconds for outcome in outcomes)
    asked = f"<= {deadline_s:g} s and {1000 * SLACK_S:.0f} ms for the way back"
    board.add(PART, f"{where}: the latest answer", asked, f"{latest:.3f} s", latest <= deadline_s + SLACK_S)


def _capacity(url: str, seconds: float) -> float:
    return asyncio.run(closed_loop(url, CLIENTS, itertools.repeat(PAIR), seconds=seconds)).rate


def _settings(places: int, deadline_s: float) -> dict[str, object]:
    return {
        "limits": dict(ONE_PAIR),
        "engine": {"max_queue_cost": places * request_cost(1, 1), "max_step_cost": 160},
        "server": {"request_timeout_s": deadline_s},
    }
