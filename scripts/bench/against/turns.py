"""Two sides measured by turns, and what came of it. Knows no servers."""

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from bench.measure import spread
from bench.ratios import faster_is_more

T = TypeVar("T")
Figures = Mapping[tuple[str, str], float]
"""What one turn shows: figures by name and unit."""


@dataclass(slots=True)
class Comparison:
    """A row: what both sides showed in each pair of turns, (before, after)."""

    group: str
    name: str
    unit: str
    pairs: list[tuple[float, float]] = field(default_factory=list)

    @property
    def before(self) -> float:
        """The median."""
        return statistics.median(before for before, _ in self.pairs)

    @property
    def after(self) -> float:
        """The median."""
        return statistics.median(after for _, after in self.pairs)

    @property
    def ratios(self) -> tuple[float, float, float]:
        """How much worse `after` is than `before` in a pair: lower quartile, median, upper quartile. 1 is the same."""
        return spread([_worse(self.unit, before, after) for before, after in self.pairs])

    @property
    def error(self) -> float:
        """The standard error of the median ratio, as that of a normal distribution with the same quartiles."""
        low, _, high = self.ratios
        return 1.253 * (high - low) / 1.349 / math.sqrt(len(self.pairs))


def take_turns(
    group: str, measure: Callable[[T], Figures], before: T, after: T, pairs: int, warm: int = 1
) -> list[Comparison]:
    """Rows of `pairs` pairs of turns after `warm` untimed ones.

    The order changes from pair to pair (A B, B A, A B, ...), so that a machine that slows down favours neither.
    """
    for _ in range(warm):
        measure(before), measure(after)
    rows: dict[tuple[str, str], Comparison] = {}
    for turn in range(pairs):
        if turn % 2 == 0:
            old, new = measure(before), measure(after)
        else:
            new, old = measure(after), measure(before)
        for name, unit in old:
            row = rows.setdefault((name, unit), Comparison(group, name, unit))
            row.pairs.append((old[name, unit], new[name, unit]))
    return list(rows.values())


def _worse(unit: str, before: float, after: float) -> float:
    return before / after if faster_is_more(unit) else after / before
