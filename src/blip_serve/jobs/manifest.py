"""What a bulk run has durably done, in SQLite, and with which options. Knows no source, no sink and no model."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from blip_serve.jobs.record import Record, readable
from blip_serve.jobs.rows import Cut
from blip_serve.jobs.tally import Tally

DATABASE = "manifest.db"
MADE = ("parts", "rejects", "claims", "tries")
"""What runs make in the folder beside the manifest, and what one that begins anew deletes. Standard input, which cannot
be read again, is not among it."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS segment (
    cut INTEGER, attempt INTEGER, rows INTEGER NOT NULL, tally TEXT NOT NULL, PRIMARY KEY (cut, attempt)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS passing (
    number INTEGER PRIMARY KEY, cut INTEGER NOT NULL, code TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS passing_of_cut ON passing (cut);
"""


@dataclass(frozen=True, slots=True)
class Segment:
    """What was written at one attempt at a cut, which is all its rows, or those that were left.

    `attempt`: 0, and more if a part of the cut was done before. `rows`: rows done for the first time. `retried`:
    numbers of the rows that had failed and were taken up again. `passing`: number and error code of each row that
    failed and may pass later.
    """

    cut: int
    attempt: int
    rows: int
    tally: Tally
    passing: tuple[tuple[int, str], ...] = ()
    retried: tuple[int, ...] = ()


def part_name(cut: int, attempt: int) -> str:
    """The name of the part that holds an attempt of a cut. Names sort as cuts do."""
    return f"{cut:06d}" + (f"-{attempt}" if attempt else "")


def cut_of(name: str) -> str:
    """The part of a name that stands for the cut."""
    return name.partition("-")[0]


class Manifest(Record):
    """The record of one bulk run."""

    file = DATABASE
    schema = SCHEMA
    other = "another --to; or, to begin anew, delete {named}, the results and the rejects"

    @property
    def finished(self) -> bool:
        """Whether the run is at its end, and its parts are joined."""
        return bool(self._number("PRAGMA user_version"))

    def finish(self) -> None:
        """Notes that the run is at its end."""
        with self._writing() as database:
            database.execute("PRAGMA user_version = 1")

    def rows_of(self, cut: Cut) -> int:
        """How many rows of the cut are done: the first ones."""
        return self._number("SELECT total(rows) FROM segment WHERE cut = ?", cut.index)

    def passing_of(self, cut: Cut) -> dict[int, str]:
        """The rows of the cut that failed and may pass later: number and error code."""
        return dict(self._rows("SELECT number, code FROM passing WHERE cut = ?", cut.index))

    def next_attempt(self, cut: Cut) -> int:
        """The number of the next attempt at the cut."""
        return self._number("SELECT coalesce(max(attempt) + 1, 0) FROM segment WHERE cut = ?", cut.index)

    def commit(self, segment: Segment) -> None:
        """Records a segment whose parts are durably written. Returns when the record is on disk. Raises `OSError`."""
        passing = [(number, segment.cut, code) for number, code in segment.passing]
        with self._writing() as database:
            database.executemany("DELETE FROM passing WHERE number = ?", [(number,) for number in segment.retried])
            database.execute(
                "INSERT INTO segment VALUES (?, ?, ?, ?)",
                [segment.cut, segment.attempt, segment.rows, json.dumps(segment.tally.to_json())],
            )
            database.executemany("INSERT INTO passing VALUES (?, ?, ?)", passing)

    def parts(self) -> Iterator[str]:
        """The names of all parts, in the order of the rows."""
        for cut, attempt in self._rows("SELECT cut, attempt FROM segment ORDER BY cut, attempt"):
            yield part_name(cut, attempt)

    def tally(self) -> Tally:
        """The tally of all that is done."""
        whole = Tally()
        for (found,) in self._rows("SELECT tally FROM segment ORDER BY cut, attempt"):
            whole.merge(Tally.of_json(json.loads(found)))
        return whole

    def rows(self) -> int:
        """How many rows are done."""
        return self._number("SELECT total(rows) FROM segment")

    def passing(self) -> int:
        """How many rows failed and may pass later."""
        return self._number("SELECT count(*) FROM passing")

    def forget(self) -> None:
        """Forgets the run, and deletes what it has made in the folder."""
        super().forget()
        for path in (self._folder / name for name in MADE):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def has_begun(folder: Path) -> bool:
    """Whether a run has begun whose state is in `folder`. Also if its manifest is damaged: opening it will tell."""
    if not (folder / DATABASE).exists():
        return False
    try:
        with closing(sqlite3.connect(folder / DATABASE)) as database:
            return database.execute("SELECT 1 FROM option").fetchone() is not None
    except sqlite3.OperationalError:  # no such table: it ended before it began
        return False
    except sqlite3.DatabaseError:
        return True


def copy_manifest(folder: Path, into: Path) -> None:
    """Copies the manifest in `folder`, if there is one, as it is now, though a run may be writing there."""
    path = folder / DATABASE
    if path.exists():
        with readable(path), closing(sqlite3.connect(path)) as found, closing(sqlite3.connect(into / DATABASE)) as new:
            found.backup(new)
