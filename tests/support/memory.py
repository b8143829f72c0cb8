"""How much memory the process takes at most while something is done."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROCESS = Path("/proc/self")


@contextmanager
def memory_within(limit: int) -> Iterator[None]:
    """Fails the test where the resident memory grows by more than `limit` bytes inside, if only for a moment."""
    if not (PROCESS / "clear_refs").exists():
        pytest.skip("the peak of the resident memory can be read on Linux only")
    start_peak()
    before = peak()
    yield
    assert peak() - before < limit


def start_peak() -> None:
    """Has the peak begin anew."""
    (PROCESS / "clear_refs").write_text("5")


def peak() -> int:
    """The most bytes that were resident since `start_peak`."""
    return _bytes("VmHWM")


def resident(process: int | str = "self") -> int:
    """Bytes of a process that are in memory."""
    return _bytes("VmRSS", process)


def _bytes(name: str, process: int | str = "self") -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", (PROCESS.with_name(str(process)) / "status").read_text())
    assert found is not None
    return int(found[1]) * 1024
