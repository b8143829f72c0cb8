"""A check: what was looked at, what was seen, what was expected, what to do. And a report of many."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["passed", "failed", "not checked", "measured"]
"""`measured`: a figure or fact that nothing is expected of. It is no check."""


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the table. `part`: what it is about, such as `weights`. `advice`: what to do; empty if it passed."""

    part: str
    name: str
    status: Status
    seen: str
    expected: str = ""
    advice: str = ""


def measured(part: str, name: str, seen: object, expected: str = "", advice: str = "") -> Check:
    """A fact. `expected`: what it is to be read beside, such as a default."""
    return Check(part, name, "measured", str(seen), expected, advice)


def judged(part: str, name: str, holds: bool, seen: object, expected: object, advice: str) -> Check:
    """Passed if it `holds`, else failed."""
    return Check(part, name, "passed" if holds else "failed", str(seen), str(expected), "" if holds else advice)


def compared(part: str, name: str, seen: object, expected: object, advice: str) -> Check:
    """Passed if what was seen is what was expected."""
    return judged(part, name, seen == expected, seen, expected, advice)


def not_checked(part: str, name: str, reason: str, advice: str) -> Check:
    """A check that could not be made."""
    return Check(part, name, "not checked", reason, "", advice)


@dataclass(frozen=True, slots=True)
class Report:
    """The checks in order. `further`: what else could be checked, and by which option."""

    checks: tuple[Check, ...]
    further: tuple[str, ...] = ()

    def of(self, status: Status) -> Sequence[Check]:
        """The checks of a status."""
        return [check for check in self.checks if check.status == status]

    @property
    def exit_code(self) -> int:
        """0 if all passed, 1 if one failed, 3 if none failed and one was not checked."""
        if self.of("failed"):
            return 1
        return 3 if self.of("not checked") else 0

    @property
    def counts(self) -> dict[str, int]:
        """How many passed, failed and were not checked."""
        counted: tuple[Status, ...] = ("passed", "failed", "not checked")
        return {status: len(self.of(status)) for status in counted}

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "exit_code": self.exit_code,
            "counts": self.counts,
            "checks": [asdict(check) for check in self.checks],
            "further": list(self.further),
        }
