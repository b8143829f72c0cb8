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
    (PROCESS / "clear_refs").write_text("5")  # the peak begins anew
    before = _peak()
    yield
    assert _peak() - before < limit


def _peak() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", (PROCESS / "status").read_text())
    assert found is not None
    return int(found[1]) * 1024
