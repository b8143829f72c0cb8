"""What a bulk run prints: its plan, its progress, and its summary."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from tqdm import tqdm

from blip_serve.cli.tables import Name, table_of, words
from blip_serve.jobs.destination import Destination
from blip_serve.jobs.manifest import Segment
from blip_serve.jobs.rows import Failed, Processed
from blip_serve.jobs.run import Plan
from blip_serve.jobs.tally import BINS, HIGHEST, LOWEST, Tally
from blip_serve.telemetry import printable

ESTIMATE_AFTER = 32
"""Rows that are timed before the time of a run is estimated."""
REPORTED = 10
"""Failed rows that are reported while a run goes on. All of them are in the file of rejects."""
BAR = 40
"""Characters of the longest bar of a histogram."""


def say(line: str) -> None:
    """Prints a line on standard error. What cannot be printed, such as in a file's name, is escaped."""
    print(f"blip-serve: {printable(line)}", file=sys.stderr)


def say_plan(
    plan: Plan,
    operator: str,
    models: Sequence[str],
    to: Destination,
    renamed: Mapping[str, str],
    passed_over: Sequence[str],
) -> None:
    """Prints what a run will do. `renamed`: columns of the source that are written under other names. `passed_over`:
    lines that say which files of the source are no rows."""
    rows = "rows not counted" if plan.rows is None else _rows(plan.rows)
    by = f" by {', '.join(dict.fromkeys(models))}" if models else ""
    done = f", {plan.done:,} done before" if plan.done else ""
    say(f"{operator}{by}: {rows}{done}, to {to.path}")
    if plan.rows == 0:
        say("the source has no rows")
    for line in passed_over:
        say(line)
    for name, other in renamed.items():
        say(f"the source's column '{name}' is written as '{other}': {operator} makes its own")
    if plan.passing:
        say(f"{_rows(plan.passing)} failed and may pass now; use --retry-failed")


class Progress:
    """A bar with the rate and the time left. Where no bar can be drawn, one line says how long the run will take."""

    def __init__(self, left: int | None, counted: str = "rows") -> None:
        """`counted`: what is counted, a plural."""
        unit = counted.partition(" ")[0].removesuffix("s")
        self._bar = tqdm(total=left, unit=unit, desc=counted, dynamic_ncols=True, leave=False, disable=None)
        self._left = left
        self._rows = 0
        self._since: tuple[float, int] | None = None  # the first row's end: before, models are loaded
        self._estimated = not self._bar.disable
        self._failed = 0

    def row(self, processed: Processed) -> None:
        """Counts a row. Reports it if it is one of the first that failed."""
        self.rows(1)
        if isinstance(processed.outcome, Failed):
            self._report(processed.row.key, processed.outcome)

    def segment(self, segment: Segment) -> None:
        """Counts the rows of a segment that an actor of a cluster processed."""
        self.rows(segment.rows)

    def rows(self, count: int) -> None:
        """Counts rows."""
        self._rows += count
        self._bar.update(count)
        if not self._estimated and self._left:
            self._estimate(self._left)

    def close(self) -> None:
        """Removes the bar."""
        self._bar.close()

    def _estimate(self, left: int) -> None:
        """Says once how long the run will take, when enough rows were timed."""
        self._since = self._since or (time.monotonic(), self._rows)
        started, before = self._since
        if self._rows - before >= ESTIMATE_AFTER:
            seconds = (time.monotonic() - started) / (self._rows - before) * (left - self._rows)
            say(f"about {_duration(max(0.0, seconds))} left")
            self._estimated = True

    def _report(self, key: str, failed: Failed) -> None:
        self._failed += 1
        if self._failed <= REPORTED:
            tqdm.write(f"blip-serve: {printable(key)}: {printable(failed.error.message)}", file=sys.stderr)
        if self._failed == REPORTED:
            tqdm.write("blip-serve: further rows that fail are only counted here", file=sys.stderr)


def print_summary(tally: Tally, score: str | None, rejects: Path, as_json: bool) -> None:
    """Prints what became of the rows: on standard output as JSON, or tables on standard error."""
    if tally.dropped.total() + tally.failed.total():
        say(f"rows that were dropped or failed, and why: {rejects}")
    if as_json:
        print(json.dumps({"rows": tally.rows, **tally.to_json()}))
        return
    console = Console(stderr=True)
    _print_counts(console, tally)
    if score and tally.bins:
        _print_histogram(console, tally, score)
        _print_extremes(console, tally, score)


def _print_counts(console: Console, tally: Tally) -> None:
    table = table_of(_rows(tally.rows))
    table.add_column("outcome")
    table.add_column("rows", justify="right")
    counts = [
        ("written", tally.kept),
        ("there before", tally.existing),
        *((f"dropped: {reason}", count) for reason, count in tally.dropped.items()),
        *((f"failed: {code}", count) for code, count in tally.failed.items()),
        *tally.labels.items(),
    ]
    for name, count in counts:
        if count or name == "written":
            table.add_row(words(name), f"{count:,}")
    console.print(table)


def _print_histogram(console: Console, tally: Tally, score: str) -> None:
    """The scores, a bar for each twentieth."""
    table = table_of(score)
    table.add_column("from", justify="right")
    table.add_column("rows", justify="right")
    table.add_column("")
    most = max(tally.bins.values())
    for bin in range(min(tally.bins), max(tally.bins) + 1):
        count = tally.bins[bin]
        table.add_row(_range(bin), f"{count:,}", "#" * -(-count * BAR // most))
    console.print(table)


def _range(bin: int) -> str:
    """The outer bins hold all scores beyond."""
    if bin == LOWEST:
        return f"below {(bin + 1) / BINS:.2f}"
    return f"{bin / BINS:.2f} and more" if bin == HIGHEST else f"{bin / BINS:.2f}"


def _print_extremes(console: Console, tally: Tally, score: str) -> None:
    for title, rows in (("best", tally.best), ("worst", tally.worst)):
        table = table_of(f"{title} by {score}")
        table.add_column("row")
        table.add_column(score, justify="right")
        for value, _, key in rows:
            table.add_row(Name(key), f"{value:.4f}")
        console.print(table)


def _rows(count: int) -> str:
    return f"{count:,} row" if count == 1 else f"{count:,} rows"


def _duration(seconds: float) -> str:
    """`75 s`, `12 min`, `3.5 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
