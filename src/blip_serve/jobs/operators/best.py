"""The operator `Best`, which keeps the best share of a score, and the first pass that finds where the share ends."""

import math
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from blip_serve.errors import ConfigurationError, InvalidInput
from blip_serve.images.reference import BytesImage
from blip_serve.jobs.database import os_errors
from blip_serve.jobs.operators.inputs import number_of
from blip_serve.jobs.operators.operator import Ask, Operator
from blip_serve.jobs.rows import Dropped, Fields, Row

BATCH = 10_000
"""Scores written at once."""


@dataclass(frozen=True, slots=True)
class BestShare:
    """The wish to keep the best `share` of a score. A first pass over the source turns it into a `Best`."""

    score: str
    share: float


@dataclass(frozen=True, slots=True)
class Best(Operator):
    """Keeps the rows whose score `by` is above the threshold, and of those at it the ones up to row number `last`.

    Made by `find_best`.
    """

    by: str
    share: float
    threshold: float
    last: int

    @property
    def reads(self) -> tuple[str, ...]:
        """The source's columns that it needs."""
        return (self.by,)

    @property
    def needs_picture(self) -> bool:
        """Never."""
        return False

    @property
    def score(self) -> str | None:
        """The one it goes by."""
        return self.by

    async def apply(self, row: Row, picture: BytesImage | None, ask: Ask) -> Fields | Dropped:
        """No column, or why the row is dropped. Raises `InvalidInput` naming the score's column."""
        score = number_of(row, self.by)
        if (score, -row.number) >= (self.threshold, -self.last):
            return {}
        return Dropped(f"{self.by} not among the best {self.share:.6g}", {})


def check_share(share: float) -> None:
    """Raises `ConfigurationError` for what is no share."""
    if not 0 < share <= 1:
        raise ConfigurationError(f"The best share is {share}; it must be above 0, and at most 1.")


def find_best(rows: Iterable[Row], score: str, share: float, folder: Path) -> Best:
    """Where the best `share` of the rows with a score ends: ceil(share * rows) are kept. Of equal rows the first win.

    `folder`: an existing one. The scores lie there in a file meanwhile, so the memory does not grow with the rows.
    Blocks: call it on a thread. Raises `ConfigurationError` for what is no share, and where no row has a number;
    `OSError` for a full disk.
    """
    check_share(share)
    with TemporaryDirectory(dir=folder, prefix=".best-") as place, _opened(Path(place)) as scores:
        scores.execute("PRAGMA journal_mode = OFF")  # the file is of use to this call only
        scores.execute("PRAGMA synchronous = OFF")
        scores.execute("CREATE TABLE scores (score REAL NOT NULL, number INTEGER PRIMARY KEY)")
        count = _fill(scores, _scores(rows, score))
        if not count:
            raise ConfigurationError(f"No row has a number in the column '{score}'.")
        threshold, last = _last_kept(scores, math.ceil(Fraction(str(share)) * count))
    return Best(score, share, threshold, last)


@contextmanager
def _opened(folder: Path) -> Iterator[sqlite3.Connection]:
    """A new database in `folder`, which also has the files that it sorts with: they would be in `/tmp`."""
    path, quoted = folder / "scores.sqlite", str(folder).replace("'", "''")
    with os_errors(path), closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA temp_store_directory = '{quoted}'")
        try:
            yield database
        finally:
            database.execute("PRAGMA temp_store_directory = ''")  # it is the whole process's


def _scores(rows: Iterable[Row], column: str) -> Iterator[tuple[float, int]]:
    """The score and the number of each row that has one. The others fail in the second pass."""
    for row in rows:
        try:
            yield number_of(row, column), row.number
        except InvalidInput:
            continue


def _fill(scores: sqlite3.Connection, found: Iterator[tuple[float, int]]) -> int:
    count = 0
    while batch := list(islice(found, BATCH)):
        scores.executemany("INSERT INTO scores VALUES (?, ?)", batch)
        scores.commit()
        count += len(batch)
    return count


def _last_kept(scores: sqlite3.Connection, kept: int) -> tuple[float, int]:
    """SQLite sorts by merging sorted runs on the disk."""
    query = "SELECT score, number FROM scores ORDER BY score DESC, number LIMIT 1 OFFSET ?"
    threshold, last = scores.execute(query, (kept - 1,)).fetchone()
    return threshold, last
