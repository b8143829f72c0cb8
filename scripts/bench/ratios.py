"""How many times faster ours is: rows of other sides beside ours of the same row and size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.measure import Row

OURS = "d"
PEER = "o"
"""OpenVINO: held against ours of the same number type, where that was measured."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ours is `times` faster than `row`, a row of another side."""

    row: Row
    ours: Row
    times: float


def ratios(rows: Sequence[Row]) -> Iterator[Ratio]:
    """Of every row that has one of ours beside it: our fastest, whose number type may be another."""
    for row in rows:
        if row.side == OURS:
            continue
        mine = [each for each in rows if each.side == OURS and _place(each) == _place(row)]
        if row.side == PEER:
            mine = [each for each in mine if each.model == row.model] or mine
        if mine:
            ours = min(mine, key=lambda each: times(each, mine[0]))
            yield Ratio(row, ours, times(row, ours))


def times(row: Row, ours: Row) -> float:
    """How often slower `row` is than `ours`: in units a second more is better, in others less."""
    return ours.median / row.median if faster_is_more(row.unit) else row.median / ours.median


def faster_is_more(unit: str) -> bool:
    """Whether a unit is of things a second."""
    return unit.endswith("/s")


def _place(row: Row) -> tuple[str, str, str, str, float | None]:
    size = row.model.partition(" ")[0]
    return row.group, row.name, size, row.unit, row.x
