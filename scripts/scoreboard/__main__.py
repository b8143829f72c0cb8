"""`python -m scoreboard`: runs the parts, prints one table, and fails where one row did not pass."""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from types import ModuleType

from bench.machine import describe
from scoreboard.board import BUILD, Board, read
from scoreboard.isolation import run_apart
from scoreboard.parts import disconnects, drain, floods, fuzz, kill, overload, page, slow, soak, ssrf, threats
from scoreboard.report import write

PARTS: tuple[ModuleType, ...] = (threats, fuzz, ssrf, floods, overload, slow, kill, drain, disconnects, page, soak)
APART = {"fuzz", "ssrf", "slow"}
"""Parts that run in a network namespace: two fetch URLs, which must not leave; one changes system settings."""
RESULTS = Path(__file__).parent / "results"
PACKAGES = ("fastapi", "uvicorn", "httptools", "uvloop", "pillow", "torch", "schemathesis", "hypothesis")


def main() -> None:
    """Runs the parts asked for, or all."""
    parts = {module.__name__.rpartition(".")[2]: module for module in PARTS}
    parser = argparse.ArgumentParser(prog="scoreboard", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(parts)}; all by default")
    parser.add_argument("--quick", action="store_true", help="short forms; written to build/scoreboard")
    parser.add_argument(
        "--rows", type=Path, help=argparse.SUPPRESS
    )  # for a part in a network namespace: the file for its rows
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(parts):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    names = arguments.parts or list(parts)
    if arguments.rows is not None:
        _run(names, parts, Board(arguments.quick, arguments.rows), apart=True)
        return

    file = (BUILD if arguments.quick or arguments.parts else RESULTS) / "scoreboard.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"machine": _machine()}) + "\n")
    board = Board(arguments.quick, file)
    _run(names, parts, board)
    print(f"\n{write(file)}")
    sys.exit(0 if all(row.passed for row in read(file)[1]) else 1)


def _machine() -> dict[str, str]:
    """The machine and its load: on a busy machine latencies mean little."""
    minute, *_ = os.getloadavg()
    return {**describe("cpu", PACKAGES), "processes waiting for a core, before": f"{minute:.1f}"}


def _run(names: list[str], parts: dict[str, ModuleType], board: Board, apart: bool = False) -> None:
    """Runs a part. If it raises, it adds a failed row, and the other parts still run."""
    for name in names:
        started = time.monotonic()
        try:
            if name in APART and not apart:
                quick = ["--quick"] if board.quick else []
                run_apart("scoreboard", name, *quick, "--rows", str(board.file))
            else:
                parts[name].run(board)
        except Exception as error:
            board.add(name, "runs to its end", "yes", f"{type(error).__name__}: {error}"[:300], False)
        print(f"-- {name}: {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
