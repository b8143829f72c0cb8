"""Two hundred slow clients beside a good one: it sees no failure, and they are cut off at their deadline."""

import asyncio
import math
import shutil
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from itertools import chain
from pathlib import Path

import psutil

from bench.bodies import MATCH
from bench.process import Server
from scoreboard.board import Board
from scoreboard.load import Outcome, closed_loop, of_status, p99
from scoreboard.slow import Behaviour, drip_body, drip_head, lifetimes, read_nothing

PART = "slow clients"
STEP_S = 0.005
DEADLINE_S = 3.0
SETTINGS = {"server": {"receive_timeout_s": DEADLINE_S, "send_timeout_s": DEADLINE_S, "keep_alive_s": int(DEADLINE_S)}}
KINDS: Mapping[str, tuple[Behaviour, int]] = {
    "drip a head": (drip_head, 70),
    "drip a body": (drip_body, 70),
    "read nothing": (read_nothing, 60),
}
SECONDS, QUICK_SECONDS = 15.0, 7.0
MOST_LATER_S = 0.05
"""By which the good client's p99 may rise."""
SLACK_S = 2.5
"""Beyond the deadline: what the service grants a client to read its refusal (2 s), and its way."""
SETTLE_S = 0.5
"""In which the service notes that its clients have gone."""
TOOL = "slowhttptest"
ATTACKS = {"-H": "slow headers", "-B": "slow body", "-X": "slow read"}


SEND_BUFFERS = Path("/proc/sys/net/ipv4/tcp_wmem")
SMALL = "4096 16384 16384"
"""Bytes of its answers that the system keeps a connection: fewer than one has, so that the service keeps the rest."""


def run(board: Board) -> None:
    """Our own clients, then those of slowhttptest where it is installed."""
    SEND_BUFFERS.write_text(SMALL)  # of this network namespace alone
    with board.serve("slow", SETTINGS, fake_step_s=STEP_S) as server:
        asyncio.run(_ours(board, server))
        if shutil.which(TOOL):
            for option, name in ATTACKS.items():
                asyncio.run(_theirs(board, server, option, name))
        else:
            print(f"  {TOOL} is not installed: its attacks are left out")


async def _ours(board: Board, server: Server) -> None:
    seconds = QUICK_SECONDS if board.quick else SECONDS
    process = psutil.Process(server.process.pid)
    server.client.close()
    alone = await _good(server.url, seconds / 2)
    await asyncio.sleep(SETTLE_S)
    at_rest = process.num_fds()
    ended = asyncio.Event()
    slow = {
        name: [asyncio.create_task(lifetimes(server.url, behaviour, DEADLINE_S + SLACK_S, ended)) for _ in range(count)]
        for name, (behaviour, count) in KINDS.items()
    }
    await asyncio.sleep(DEADLINE_S / 2)  # all are there, none was cut off
    most = process.num_fds() - at_rest
    beside = await _good(server.url, seconds)
    ended.set()
    lasted = {name: list(chain.from_iterable(await asyncio.gather(*tasks))) for name, tasks in slow.items()}
    _report_good(
        board, f"{most} slow connections of ours", alone, beside, most >= sum(count for _, count in KINDS.values())
    )
    for name, each in lasted.items():
        cut = [seconds for seconds in each if seconds < math.inf]
        asked = f"all, after {DEADLINE_S:g} s, and at most {SLACK_S:g} more"
        says = f"{len(cut)} of {len(each)}, after {min(cut, default=0):.1f} to {max(cut, default=0):.1f} s"
        board.add(PART, f"clients that {name}: cut off", asked, says, cut == each and min(cut) >= DEADLINE_S - 0.1)
    await asyncio.sleep(SETTLE_S)
    left = process.num_fds() - at_rest
    board.add(PART, "descriptors of the service then, beyond those before", "<= 0", f"{left}", left <= 0)


async def _theirs(board: Board, server: Server, option: str, name: str) -> None:
    seconds = QUICK_SECONDS if board.quick else SECONDS
    alone = await _good(server.url, seconds / 2)
    async with _attack(server.url, option, seconds):
        beside = await _good(server.url, seconds)
    _report_good(board, f"{TOOL}'s {name}", alone, beside, True)


@asynccontextmanager
async def _attack(url: str, option: str, seconds: float) -> AsyncIterator[None]:
    """slowhttptest with 200 connections while inside; it ends by itself soon after."""
    path = "/openapi.json" if option == "-X" else MATCH
    options = ["-c", "200", "-r", "200", "-i", "1", "-x", "10", "-p", "2", "-l", str(round(seconds)), "-u", url + path]
    process = await asyncio.create_subprocess_exec(TOOL, option, *options, stdin=DEVNULL, stdout=DEVNULL)
    try:
        yield
    finally:
        await asyncio.wait_for(process.wait(), 2 * seconds + 30)


async def _good(url: str, seconds: float) -> list[Outcome]:
    """What comes of a client's requests, one after the other."""
    ended = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, ended.set)
    return await closed_loop(url, 1, keep=True, until=ended)


def _report_good(board: Board, beside_what: str, alone: list[Outcome], beside: list[Outcome], there: bool) -> None:
    add = partial(board.add, PART)
    failed = len(beside) - len(of_status(beside, 200))
    add(f"the good client beside {beside_what}: failures", "0", f"{failed} of {len(beside)}", there and not failed)
    before, then = p99(of_status(alone, 200)), p99(of_status(beside, 200))
    says = f"{1000 * then:.0f} ms; alone {1000 * before:.0f} ms"
    asked = f"<= {1000 * MOST_LATER_S:.0f} ms above alone"
    add(f"the good client beside {beside_what}: p99", asked, says, then <= before + MOST_LATER_S)
