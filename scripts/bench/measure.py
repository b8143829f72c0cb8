"""Rows of the benchmark, their file, and sides timed in turn."""

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


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
    """The machine and the rows so far: each printed, and written as one JSON line, when it is known."""

    def __init__(self, file: Path, machine: Mapping[str, str]) -> None:
        self.rows: list[Row] = []
        self._file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"machine": dict(machine)}) + "\n")

    def add(self, row: Row) -> None:
        """Keeps, prints and writes a row."""
        self.rows.append(row)
        place = "" if row.x is None else f" at {row.x:g}"
        what = f"{row.group} | {row.name}{place} | {row.side} | {row.model}"
        print(f"{what} | {row.median:.4g} {row.unit} | {row.note}", flush=True)
        with self._file.open("a") as lines:
            lines.write(json.dumps(asdict(row)) + "\n")


def read(file: Path) -> tuple[dict[str, str], list[Row]]:
    """The machine and the rows that `Results` wrote."""
    first, *rows = file.read_text().splitlines()
    return json.loads(first)["machine"], [Row(**json.loads(row)) for row in rows]


def alternate(sides: Mapping[str, Callable[[], object]], repeats: int, warm: int = 1) -> dict[str, list[float]]:
    """Seconds of `repeats` calls of each side, the sides taking turns after `warm` untimed calls of each."""
    given = {side: lambda _, call=call: call() for side, call in sides.items()}
    return take_turns(given, [None] * (repeats + warm), warm=warm)


def take_turns(
    sides: Mapping[str, Callable[[T], R]],
    inputs: Sequence[T],
    check: Callable[[T, Mapping[str, R]], None] = lambda given, answers: None,
    warm: int = 1,
) -> dict[str, list[float]]:
    """Seconds of each side for each of `inputs`, which all sides are given in turn; the first `warm` are not timed.

    `check` is given each input and its answers by side, and raises where they disagree.
    """
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for given in inputs:
        answers: dict[str, R] = {}
        for side, call in sides.items():
            started = time.perf_counter()
            answers[side] = call(given)
            seconds[side].append(time.perf_counter() - started)
        check(given, answers)
    return {side: taken[warm:] for side, taken in seconds.items()}


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high
