"""What a run saw, as JSON and as a page of Markdown."""

import json
import re
import shutil
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import torch

from bench.machine import describe
from bench.markdown import table
from gpu.rows import Row
from gpu.tested import Tests

PACKAGES = ("torch", "transformers", "tokenizers", "pillow", "pydantic")
HEADS = ["checkpoint", "what", "how many", "ms", "launching, ms", "device, ms", "a second", "note"]
TRIAL = "NO CARD: a trial of the script on a CPU. These are no results of a GPU."


@dataclass(slots=True)
class Report:
    """The report of a run on `machine`. `broken`: measurements that failed, and why."""

    on_card: bool
    machine: dict[str, str]
    folder: Path
    tests: Tests = field(default_factory=Tests)
    rows: list[Row] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    seconds: int = 0

    @classmethod
    def begin(cls, results: Path, trials: Path) -> "Report":
        """Starts a report: in `results` with a card, in `trials` without one."""
        on_card = torch.cuda.is_available()
        date = {"date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")}
        card = _card() if on_card else {"gpu": "none"}
        machine = date | describe("cuda" if on_card else "cpu", PACKAGES) | card
        if not on_card:
            print(TRIAL, flush=True)
        return cls(on_card, machine, results if on_card else trials)

    def add(self, row: Row) -> None:
        """Keeps and prints a row, and writes what is known so far."""
        self.rows.append(row)
        print(" | ".join(_cells(row)), flush=True)
        self.write()

    def write(self) -> None:
        """Writes both files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^a-z0-9]+", "-", self.machine["gpu"].lower()) if self.on_card else "no-card"
        known = {"on_card": self.on_card, "machine": self.machine, "tests": asdict(self.tests), "seconds": self.seconds}
        content = known | {"broken": self.broken, "rows": [asdict(row) for row in self.rows]}
        (self.folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
        (self.folder / f"{name}.md").write_text(self._page())

    def _page(self) -> str:
        tests = self.tests
        lines = [
            f"# {self.machine['gpu'] if self.on_card else TRIAL}",
            "",
            *(f"- {name}: {value}" for name, value in self.machine.items()),
            f"- tests: {tests.passed} passed, {tests.skipped} skipped, {len(tests.failed)} failed {tests.note}",
            *(f"  - failed: `{name}`" for name in tests.failed),
            *(f"- not measured: {reason}" for reason in self.broken),
            f"- the run took {self.seconds} s",
            "",
            "`launching`: for how long of it the host was busy launching. `device`: what the device takes for the same",
            "when it never waits for the host.",
            "",
            *table(HEADS, [_cells(row) for row in self.rows], "llrrrrrl"),
        ]
        return "\n".join(lines) + "\n"


def _cells(row: Row) -> list[str]:
    launching, device = ("" if ms is None else f"{ms:.2f}" for ms in (row.launching_ms, row.device_ms))
    return [row.model, row.name, str(row.count), f"{row.ms:.2f}", launching, device, f"{row.rate:,.0f}", row.note]


def _card() -> dict[str, str]:
    """The driver, CUDA and the memory of the card."""
    properties = torch.cuda.get_device_properties(0)
    return {
        "driver": _driver(),
        "cuda": str(torch.version.cuda),
        "gpu memory": f"{properties.total_memory / 2**30:.0f} GiB",
    }


def _driver() -> str:
    command = shutil.which("nvidia-smi")
    if command is None:
        return "unknown: no nvidia-smi"
    asked = [command, "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
    return subprocess.run(asked, capture_output=True, text=True, check=False, timeout=30).stdout.strip() or "unknown"
