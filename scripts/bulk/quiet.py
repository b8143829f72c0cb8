"""How quiet the machine is while something is timed: what processes that are not ours compute meanwhile.

On two cores one busy process slows torch many times over, and the sides of a comparison not alike.
"""

import os
import time
from pathlib import Path

QUIET = 0.05
"""The share of the cores that others may take before a figure says little."""


class Watch:
    """A clock, and a look at the other processes. `seconds`, `others`: since it was made, once `stop` was called."""

    def __init__(self) -> None:
        self._ours, self._all = _ours(), _all()
        self._started = time.perf_counter()
        self.seconds = 0.0
        self.others = 0.0

    def stop(self) -> None:
        """`others`: the share of the cores that processes took which are neither this one nor its descendants."""
        self.seconds = time.perf_counter() - self._started
        busy = (_all() - self._all) - (_ours() - self._ours)
        self.others = max(0.0, busy / (self.seconds * (os.cpu_count() or 1)))


def _all() -> float:
    """Seconds that all processes computed since the machine started."""
    user, nice, system, _, _, *interrupts = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:8])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def _ours() -> float:
    """Seconds that this process and its descendants computed, also those that have ended."""
    parents, seconds = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        parents[int(folder.name)] = int(fields[1])
        seconds[int(folder.name)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return sum(taken for process, taken in seconds.items() if _descends(process, parents))


def _descends(process: int, parents: dict[int, int]) -> bool:
    while process and process != os.getpid():
        process = parents.get(process, 0)
    return process == os.getpid()
