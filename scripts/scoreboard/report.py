"""The table, from the rows alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.markdown import table
from scoreboard.board import Row, read


def write(file: Path) -> str:
    """The page of `FILE.jsonl`, which is also written to `FILE.md`."""
    machine, rows = read(file)
    text = page(machine, rows)
    file.with_suffix(".md").write_text(text, encoding="utf-8")
    return text


def page(machine: Mapping[str, str], rows: Sequence[Row]) -> str:
    """All of it in Markdown."""
    return "\n\n".join(["# Scoreboard", _machine(machine), _rows(rows), _sum(rows)]) + "\n"


def _machine(machine: Mapping[str, str]) -> str:
    return "\n".join(table(["machine", ""], [[key, value] for key, value in machine.items()]))


def _rows(rows: Sequence[Row]) -> str:
    lines = [[row.part, row.what, row.asked, row.seen, "yes" if row.passed else "**no**"] for row in rows]
    return "\n".join(table(["part", "what", "asked", "seen", "passed"], lines))


def _sum(rows: Sequence[Row]) -> str:
    return f"{sum(row.passed for row in rows)} of {len(rows)} passed."
