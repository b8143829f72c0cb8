"""What a run has durably recorded in SQLite, and with which options. One process at a time has it open."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from filelock import FileLock, Timeout

from blip_serve.errors import ConfigurationError
from blip_serve.jobs.database import os_errors

VERSION = "1"
LOCK = "lock"
SHOWN, NAMED = 100, 3
"""Of options that differ: how many characters of a value are shown, and how many of its parts are named."""
OPTION = "CREATE TABLE IF NOT EXISTS option (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"


def check_links(folder: Path) -> None:
    """Raises `ConfigurationError` if the folder of a run's state is a link, or something in it: a data set may bring
    such a link along, and what is written and deleted in the folder would be elsewhere."""
    inside = folder.iterdir() if folder.is_dir() and not folder.is_symlink() else ()
    for path in (folder, *inside):
        if path.is_symlink():
            raise ConfigurationError(f"{path}: this is a link, and the state of a run lies behind none. Delete it.")


class Record:
    """The record of one run. Use it in a `with`. Only one process at a time has it open; its threads may share it.

    `file`: its name in the folder. `schema`: its tables, beside that of the options. `other`: what a user may do who
    gave other options, where `{named}` is the folder. All methods raise `OSError` where its file cannot be read or
    written.
    """

    file: ClassVar[str]
    schema: ClassVar[str]
    other: ClassVar[str]

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

        `begin_anew`: if they differ, forget what was done. Otherwise raises `ConfigurationError` that names each
        difference.
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
                + self.other.format(named=self._named)
            )

    def forget(self) -> None:
        """Forgets the run."""
        tables = [name for (name,) in self._rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
        with self._writing() as database:
            for table in tables:
                database.execute(f"DELETE FROM {table}")
            database.execute("PRAGMA user_version = 0")

    def _number(self, query: str, *values: int) -> int:
        [(number,)] = self._rows(query, *values)
        return int(number)

    def _rows(self, query: str, *values: int | str) -> Iterator[tuple[Any, ...]]:
        with os_errors(self._folder / self.file):
            yield from self._database.execute(query, values)

    def _open(self) -> None:
        path = self._folder / self.file
        with readable(path):
            self._database = sqlite3.connect(path, check_same_thread=False)
            try:
                self._database.execute("PRAGMA journal_mode = WAL")  # a commit syncs one file once
                self._database.execute("PRAGMA synchronous = FULL")
                self._database.executescript(OPTION + self.schema)
            except BaseException:
                self._database.close()
                raise

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction."""
        with os_errors(self._folder / self.file), self._database as database:
            yield database


def _difference(name: str, kept: str | None, given: str | None) -> str:
    """In a few words. Of an option with many values, such as files and their sizes, it names the first that differ."""
    was, now = (json.loads(each or "null") for each in (kept, given))
    if not (isinstance(was, dict) and isinstance(now, dict)):
        return f"{name} was {(kept or 'absent')[:SHOWN]}, is {(given or 'absent')[:SHOWN]}"
    differing = [each for each in was | now if was.get(each) != now.get(each)]
    more = f" and {len(differing) - NAMED} more" if len(differing) > NAMED else ""
    return f"{name} differs in {', '.join(each[:SHOWN] for each in differing[:NAMED])}{more}"


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Names the record's file where it cannot be read: `ConfigurationError` if it is damaged, else `OSError`."""
    with os_errors(path):
        try:
            yield
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            message = f"{path}: not readable ({error}); delete {path.parent} to begin anew"
            raise ConfigurationError(message) from None
