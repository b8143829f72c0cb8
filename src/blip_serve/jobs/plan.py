"""What is left to do in a bulk run: cuts, or parts of them, that the manifest does not have."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice

from blip_serve.jobs.manifest import Manifest
from blip_serve.jobs.rows import Cut, Row
from blip_serve.jobs.sources.source import Source

CUT_ROWS = 256
"""Rows of a cut: what an interruption can cost, and a file of a destination that is a folder."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `of` equal parts of a run, which several machines do. `index` counts from 0."""

    index: int = 0
    of: int = 1


WHOLE = Shard()


@dataclass(frozen=True, slots=True)
class Todo:
    """Rows of a cut that are to be processed: those from `done` on, or those in `failed` (number and error code)."""

    cut: Cut
    attempt: int = 0
    done: int = 0
    failed: Mapping[int, str] | None = None

    @property
    def count(self) -> int:
        """How many rows these are."""
        return self.cut.count - self.done if self.failed is None else len(self.failed)

    def rows(self, source: Source) -> Iterator[Row]:
        """The rows, read from their source. Raises `OSError` if it has others now."""
        found = 0
        for row in islice(source.rows(self.cut), self.cut.count):  # a limit may have made the cut shorter
            if row.number in self.failed if self.failed is not None else row.number >= self.cut.start + self.done:
                found += 1
                yield row
        if found != self.count:
            rows = f"{found} of {self.count} rows from row {self.cut.start} on"
            raise OSError(f"the source has changed: it has {rows}")


def cuts(source: Source, shard: Shard, limit: int | None) -> Iterator[Cut]:
    """The cuts of a shard of the source's first `limit` rows."""
    for cut in source.cuts(CUT_ROWS):
        left = cut.count if limit is None else limit - cut.start
        if left <= 0:
            return
        if cut.index % shard.of == shard.index:
            yield replace(cut, count=min(cut.count, left))


def todo(cuts: Iterator[Cut], manifest: Manifest, retry: bool) -> Iterator[Todo]:
    """What is left of the cuts. `retry`: also rows that failed and may pass now. Reads the manifest as it goes."""
    for cut in cuts:
        done = manifest.rows_of(cut)
        attempt = manifest.next_attempt(cut)
        failed = _within(cut, manifest.passing_of(cut)) if retry else {}
        if failed:
            yield Todo(cut, attempt, failed=failed)
            attempt += 1
        if done < cut.count:
            yield Todo(cut, attempt, done)


def _within(cut: Cut, failed: Mapping[int, str]) -> dict[int, str]:
    """Those rows that a limit leaves in the cut."""
    return {number: code for number, code in failed.items() if number < cut.start + cut.count}
