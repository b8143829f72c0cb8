"""The rows of threats.md as tests: how many of the 55 pass."""

import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path

from scoreboard.board import BUILD, ROOT, Board
from tests.threats.cases import ROW, ROWS

TESTS = "tests/threats"
LIMIT_S = 600.0


def run(board: Board) -> None:
    """A row counts as passed where it has cases and each of them passes."""
    report = BUILD / "threats.xml"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", TESTS, f"--junitxml={report}"]
    code = subprocess.run(command, check=False, cwd=ROOT, timeout=LIMIT_S).returncode
    cases = outcomes(report)
    passed = {row for row, outcome in cases.items() if all(outcome)}
    missing = sorted(set(ROWS) - passed)
    seen = f"{len(passed)} of {len(ROWS)}, by {sum(map(len, cases.values()))} cases"
    seen += f"; not {missing}" if missing else ""
    board.add("threats", "rows of threats.md", f"{len(ROWS)}", seen, not missing)
    board.add("threats", "pytest's exit code: all else there passes too", "0", f"{code}", code == 0)


def outcomes(report: Path) -> dict[int, list[bool]]:
    """Of each row whether each of its cases passed; what was skipped did not."""
    found: dict[int, list[bool]] = defaultdict(list)
    if not report.exists():  # there are no tests, or pytest did not come so far
        return found
    for case in ET.parse(report).iter("testcase"):
        ill = any(case.find(tag) is not None for tag in ("failure", "error", "skipped"))
        for row in ROW.findall(f"{case.get('classname')} {case.get('name')}"):
            if int(row) in ROWS:
                found[int(row)].append(not ill)
    return found
