"""Runs `tests/cuda` and reads the results."""

import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

from gpu.needs import ROOT

XML = ROOT / "build" / "gpu" / "tests.xml"
A_TEST_S = 90
"""Seconds that the last test may take beyond the limit."""
NOTES = {0: "", 1: "", 2: "(stopped: the time was up)"}
"""Pytest's exit codes."""


@dataclass(frozen=True, slots=True)
class Tests:
    """Numbers of passed and skipped tests, and the names of failed ones. `note`: set if not all tests ran."""

    passed: int = 0
    skipped: int = 0
    failed: list[str] = field(default_factory=list)
    note: str = ""


def run_tests(on_card: bool, limit_s: float) -> Tests:
    """Those that need a card, where there is one; else those of the folder that a CPU can run."""
    XML.parent.mkdir(parents=True, exist_ok=True)
    XML.unlink(missing_ok=True)
    # `-W default`: warnings of other library versions are shown and do not fail a test
    command = [sys.executable, "-m", "pytest", "-q", "-W", "default", "-p", "no:cacheprovider", f"--junitxml={XML}"]
    chosen = [f"--session-timeout={limit_s:.0f}", *(["-m", "cuda"] if on_card else []), "tests/cuda"]
    try:
        code = subprocess.run([*command, *chosen], cwd=ROOT, check=False, timeout=limit_s + A_TEST_S).returncode
    except subprocess.TimeoutExpired:
        return Tests(note="a test hung")
    return _read(NOTES.get(code, f"pytest ended with {code}")) if XML.exists() else Tests(note="pytest did not run")


def _read(note: str) -> Tests:
    failed, skipped, count = [], 0, 0
    for case in ET.parse(XML).iter("testcase"):
        count += 1
        if case.find("skipped") is not None:
            skipped += 1
        elif case.find("failure") is not None or case.find("error") is not None:
            failed.append(f"{case.get('classname')}::{case.get('name')}")
    return Tests(count - skipped - len(failed), skipped, failed, note)
