"""Every row of the table of threats has a test."""

import subprocess
import sys
from pathlib import Path

from tests.threats.cases import ROW, ROWS


def test_every_row_has_a_test() -> None:
    here = Path(__file__).parent
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", str(here)],
        check=True, capture_output=True, text=True, timeout=60, cwd=here.parents[1],
    ).stdout  # fmt: skip
    assert sorted(set(ROWS) - {int(number) for number in ROW.findall(listed)}) == []
