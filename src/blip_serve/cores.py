"""The cores that this process may use: those of the machine, and the container's limit. Knows no torch."""

import math
import os
from contextlib import suppress
from functools import cache
from pathlib import Path

QUOTA_FILES = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))
"""Where a container reads its CPU limit, in cgroups v2 and v1: microseconds of CPU time, and of the period."""
CGROUPS = Path("/sys/fs/cgroup")


def container_limit(cgroups: Path = CGROUPS) -> int | None:
    """Cores that the container may use; `None` without a limit.

    A limit that is not whole is rounded up, as the JVM and Go do. With more threads than that, those that wait for
    others use up the limit, and then all stop until the period ends.
    """
    for names in QUOTA_FILES:
        with suppress(OSError, ValueError):  # no such file, or no limit: "max", and -1 in v1
            quota, period = (int(each) for name in names for each in (cgroups / name).read_text().split())
            return max(1, math.ceil(quota / period)) if quota > 0 else None
    return None


@cache
def usable_cores(cgroups: Path = CGROUPS) -> int:
    """Cores that this process may run on, but at most the container's limit. They are read once."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(here, container_limit(cgroups) or here)
