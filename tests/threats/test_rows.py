"""Every row of the table of threats has a test."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.threats.cases import ROW, ROWS
from tests.threats.conftest import COLLECTED

HERE = Path(__file__).parent


def test_every_row_has_a_test(request: pytest.FixtureRequest) -> None:
    collected: list[str] = request.config.stash[COLLECTED]
    ids = "\n".join(collected)
    if not all(file.name in ids for file in HERE.glob("test_*.py")):  # asked for alone
        ids = subprocess.run(
            [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", str(HERE)],
            check=True, capture_output=True, text=True, timeout=60, cwd=HERE.parents[1],
        ).stdout  # fmt: skip
    assert sorted(set(ROWS) - {int(number) for number in ROW.findall(ids)}) == []
