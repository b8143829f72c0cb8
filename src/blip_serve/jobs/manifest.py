"""What a bulk run has durably done, in SQLite, and with which options. Knows no source, no sink and no model."""

import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from blip_serve.errors import ConfigurationError
from blip_serve.jobs.database import os_errors
from blip_serve.jobs.rows import Cut
from blip_serve.jobs.tally import Tally

VERSION = "1"
DATABASE, LOCK = "manifest.db", "lock"
MADE = ("parts", "rejects", "claims", "tries")
"""What runs make in the folder beside the manifest, and what one that begins anew deletes. Standard input, which cannot
be read again, is not among it."""
SHOWN, NAMED = 100, 3
"""Of options that differ: how many characters of a value are shown, and how many of its parts are named."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS option (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
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


def check_links(folder: Path) -> None:
    """Raises `ConfigurationError` if the folder of a run's state is a link, or something in it: a data set may bring
    such a link along, and what is written and deleted in the folder would be elsewhere."""
    inside = folder.iterdir() if folder.is_dir() and not folder.is_symlink() else ()
    for path in (folder, *inside):
        if path.is_symlink():
            raise ConfigurationError(f"{path}: this is a link, and the state of a run lies behind none. Delete it.")


class Manifest:
    """The record of one run. Use it in a `with`. Only one process at a time has it open; its threads may share it.

    All methods raise `OSError` where its file cannot be read or written.
    """

    def __init__(self, folder: Path, copy_of: Path | None = None) -> None:
        """`folder`: holds the run's state; it is made if needed. `copy_of`: what messages name in its place."""
        self._folder = folder
        self._named = copy_of or folder
        self._lock = FileLock(folder / LOCK)

    def __enter__(self) -> Self:
        """Raises `ConfigurationError` if another process has it open, or the file is damaged."""
        check_links(self._folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ConfigurationError(f"{self._folder}: another run is writing there; wait for it to end") from None
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()
        self._lock.release()

    def option(self, name: str) -> Any:
        """An option of the run that began here; `None` if there is no such."""
        found = next(self._rows("SELECT value FROM option WHERE name = ?", name), None)
        return None if found is None else json.loads(found[0])

    def agree(self, options: Mapping[str, Any], begin_anew: bool = False) -> None:
        """Keeps the run's options, or compares them with those kept.

        `begin_anew`: if they differ, forget what was done, and delete what it made in the folder. Otherwise raises
        `ConfigurationError` that names each difference.
        """
        given = {name: json.dumps(value, sort_keys=True) for name, value in {"version": VERSION, **options}.items()}
        kept = dict(self._rows("SELECT name, value FROM option"))
        if kept != given and begin_anew:
            self.forget()
            kept = {}
        if not kept:
            with self._writing() as database:
                database.executemany("INSERT INTO option VALUES (?, ?)", given.items())
        elif kept != given:
            names = [name for name in given | kept if given.get(name) != kept.get(name)]
            differences = "; ".join(_difference(name, kept.get(name), given.get(name)) for name in names)
            raise ConfigurationError(
                f"{self._named}: a run with other options began here ({differences}). Give the same options, or "
                f"another --to; or, to begin anew, delete {self._named}, the results and the rejects"
            )

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
        with self._writing() as database:
            for table in ("option", "segment", "passing"):
                database.execute(f"DELETE FROM {table}")
            database.execute("PRAGMA user_version = 0")
        for path in (self._folder / name for name in MADE):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _number(self, query: str, *values: int) -> int:
        [(number,)] = self._rows(query, *values)
        return int(number)

    def _rows(self, query: str, *values: int | str) -> Iterator[tuple[Any, ...]]:
        with os_errors(self._folder / DATABASE):
            yield from self._database.execute(query, values)

    def _open(self) -> None:
        path = self._folder / DATABASE
        with _readable(path):
            self._database = sqlite3.connect(path, check_same_thread=False)
            try:
                self._database.execute("PRAGMA journal_mode = WAL")  # a commit syncs one file once
                self._database.execute("PRAGMA synchronous = FULL")
                self._database.executescript(SCHEMA)
            except BaseException:
                self._database.close()
                raise

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction."""
        with os_errors(self._folder / DATABASE), self._database as database:
            yield database


def _difference(name: str, kept: str | None, given: str | None) -> str:
    """In a few words. Of an option with many values, such as files and their sizes, it names the first that differ."""
    was, now = (json.loads(each or "null") for each in (kept, given))
    if not (isinstance(was, dict) and isinstance(now, dict)):
        return f"{name} was {(kept or 'absent')[:SHOWN]}, is {(given or 'absent')[:SHOWN]}"
    differing = [each for each in was | now if was.get(each) != now.get(each)]
    more = f" and {len(differing) - NAMED} more" if len(differing) > NAMED else ""
    return f"{name} differs in {', '.join(each[:SHOWN] for each in differing[:NAMED])}{more}"


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
        with _readable(path), closing(sqlite3.connect(path)) as found, closing(sqlite3.connect(into / DATABASE)) as new:
            found.backup(new)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Names the manifest where it cannot be read: `ConfigurationError` if it is damaged, else `OSError`."""
    with os_errors(path):
        try:
            yield
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            message = f"{path}: not readable ({error}); delete {path.parent} to begin anew"
            raise ConfigurationError(message) from None
