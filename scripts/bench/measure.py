"""Rows of the benchmark, and sides timed in turn."""

import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: what was measured (`group`, `name`), of which `side`, as a median with its quartiles.

    `model`: the checkpoint and its number type, as "base bfloat16". `x`: the place on a growth curve. `note`: what a
    reader must know, as "8 pairs timed, scaled to 64".
    """

    group: str
    name: str
    side: str
    model: str
    unit: str
    median: float
    low: float
    high: float
    repeats: int
    x: float | None = None
    note: str = ""


class Results:
    """Rows so far: each printed, and written as one JSON line, when it is known."""

    def __init__(self, file: Path) -> None:
        self.rows: list[Row] = []
        self._file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")

    def add(self, row: Row) -> None:
        """Keeps, prints and writes a row."""
        self.rows.append(row)
        place = "" if row.x is None else f" at {row.x:g}"
        print(f"{row.group} | {row.name}{place} | {row.side} | {row.model} | {row.median:.4g} {row.unit} | {row.note}", flush=True)
        with self._file.open("a") as lines:
            lines.write(json.dumps(asdict(row)) + "\n")


def alternate(sides: Mapping[str, Callable[[], object]], repeats: int, warm: int = 1) -> dict[str, list[float]]:
    """Seconds of `repeats` calls of each side, the sides taking turns after `warm` untimed calls of each."""
    for call in sides.values():
        for _ in range(warm):
            call()
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(repeats):
        for side, call in sides.items():
            started = time.perf_counter()
            call()
            seconds[side].append(time.perf_counter() - started)
    return seconds


def spread(values: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high
