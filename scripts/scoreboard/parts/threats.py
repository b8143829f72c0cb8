"""The rows of threats.md as tests: how many of the 55 pass."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path

from scoreboard.board import BUILD, ROOT, Board

TESTS = "tests/threats"
COUNT = 55
LIMIT_S = 600.0
ROW = re.compile(r"row_?(\d\d)")
"""In a case's name, as in `test_input[row05-svg]`."""


def run(board: Board) -> None:
    """A row counts as passed where it has cases and each of them passes."""
    report = BUILD / "threats.xml"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", TESTS, f"--junitxml={report}"]
    subprocess.run(command, check=False, cwd=ROOT, timeout=LIMIT_S)
    cases = outcomes(report)
    passed = {row for row, outcome in cases.items() if all(outcome)}
    missing = sorted(set(range(1, COUNT + 1)) - passed)
    seen = f"{len(passed)} of {COUNT}, by {sum(map(len, cases.values()))} cases"
    board.add("threats", "rows of threats.md", f"{COUNT}", seen + (f"; not {missing}" if missing else ""), not missing)


def outcomes(report: Path) -> dict[int, list[bool]]:
    """Of each row whether each of its cases passed; what was skipped did not."""
    found: dict[int, list[bool]] = defaultdict(list)
    if not report.exists():  # there are no tests, or pytest did not come so far
        return found
    for case in ET.parse(report).iter("testcase"):
        ill = any(case.find(tag) is not None for tag in ("failure", "error", "skipped"))
        for row in ROW.findall(f"{case.get('classname')} {case.get('name')}"):
            if 1 <= int(row) <= COUNT:
                found[int(row)].append(not ill)
    return found
