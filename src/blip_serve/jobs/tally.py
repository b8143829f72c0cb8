"""Counts of a bulk run, with the distribution of its scores and its best and worst rows. Its size is bounded."""

import heapq
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from blip_serve.jobs.rows import Dropped, Existing, Failed, Kept, Processed

EXTREMES = 10
"""How many of the best rows, and of the worst, are kept."""
BINS = 20
"""Bins of the histogram for each unit of the score."""
LOWEST, HIGHEST = -20, 19
"""The first and the last bin: from -1 to 1. Scores beyond count in these."""
NAMES = 50
"""How many reasons, codes and labels are told apart, each: a server may make up codes."""
OTHER = "other"

Scored = tuple[float, int, str]
"""A row's score, number and key."""


@dataclass(slots=True)
class Tally:
    """What became of the rows.

    `dropped`: by reason. `failed`: by the error's code. `labels`: what the operator counts beside. Of each the first
    `NAMES` are told apart. `bins`: how many
    scores lie from `bin / BINS` up to the next bin. `best`, `worst`: in order, the best and the worst first.
    """

    kept: int = 0
    existing: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    bins: Counter[int] = field(default_factory=Counter)
    best: list[Scored] = field(default_factory=list)
    worst: list[Scored] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """All rows."""
        return self.kept + self.existing + self.dropped.total() + self.failed.total()

    def add(self, processed: Processed, score: float | None = None, labels: Iterable[str] = ()) -> None:
        """Counts a row. `score`: its score, if it has one."""
        match processed.outcome:
            case Kept():
                self.kept += 1
            case Existing():
                self.existing += 1
            case Dropped(reason=reason):
                _count(self.dropped, reason)
            case Failed(error=error):
                _count(self.failed, error.code)
        for label in labels:
            _count(self.labels, label)
        if score is not None and math.isfinite(score):
            self.bins[min(max(math.floor(score * BINS), LOWEST), HIGHEST)] += 1
            self._rank([(score, processed.row.number, processed.row.key)])

    def take_back(self, codes: Iterable[str]) -> None:
        """Counts rows that failed with these codes no longer, because they are processed again."""
        for code in codes:
            _count(self.failed, code, -1)

    def merge(self, other: "Tally") -> None:
        """Adds another tally."""
        self.kept += other.kept
        self.existing += other.existing
        for mine, theirs in (
            (self.dropped, other.dropped),
            (self.failed, other.failed),
            (self.labels, other.labels),
        ):
            for name, count in theirs.items():
                _count(mine, name, count)
        self.bins.update(other.bins)
        self._rank([*other.best, *other.worst])

    def to_json(self) -> dict[str, Any]:
        """The tally as JSON."""
        return {
            "kept": self.kept,
            "existing": self.existing,
            "dropped": dict(self.dropped),
            "failed": {code: count for code, count in self.failed.items() if count},
            "labels": dict(self.labels),
            "bins": {str(bin): count for bin, count in sorted(self.bins.items())},
            "best": self.best,
            "worst": self.worst,
        }

    @classmethod
    def of_json(cls, found: dict[str, Any]) -> Self:
        """The tally that `to_json` returned."""
        return cls(
            found["kept"],
            found["existing"],
            Counter(found["dropped"]),
            Counter(found["failed"]),
            Counter(found["labels"]),
            Counter({int(bin): count for bin, count in found["bins"].items()}),
            [(score, number, key) for score, number, key in found["best"]],
            [(score, number, key) for score, number, key in found["worst"]],
        )

    def _rank(self, scored: Iterable[Scored]) -> None:
        """Enters rows among the best and the worst. Of equal scores the earlier row goes first."""
        new = [each for each in scored if self._ranks(each)]
        if not new:
            return
        self.best = heapq.nsmallest(EXTREMES, {*self.best, *new}, key=lambda each: (-each[0], each[1]))
        self.worst = heapq.nsmallest(EXTREMES, {*self.worst, *new}, key=lambda each: (each[0], each[1]))

    def _ranks(self, each: Scored) -> bool:
        """Whether a row may be among the best or the worst. Most are not, and this is quickly told."""
        return len(self.worst) < EXTREMES or each[0] >= self.best[-1][0] or each[0] <= self.worst[-1][0]


def _count(counter: Counter[str], name: str, count: int = 1) -> None:
    """`count` may be negative."""
    counter[name if name in counter or len(counter) < NAMES else OTHER] += count
