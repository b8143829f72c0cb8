"""Which row wrote which file, for sinks that write a file a row. Knows no format."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from blip_serve.durable import NewFile, make_folder
from blip_serve.jobs.database import os_errors

_WAIT_S = 60
_OPENING = (
    "PRAGMA journal_mode = TRUNCATE",  # shards may be on several machines, which cannot share a WAL
    "PRAGMA synchronous = OFF",
    "CREATE TABLE IF NOT EXISTS claims (name TEXT PRIMARY KEY, number INTEGER NOT NULL, key TEXT NOT NULL, "
    "source TEXT NOT NULL, run TEXT NOT NULL) WITHOUT ROWID",
)
_CLAIM = """
INSERT INTO claims VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE
SET number = excluded.number, key = excluded.key, source = excluded.source, run = excluded.run
WHERE claims.source <> excluded.source OR claims.number = excluded.number
"""
_OWNER = "SELECT number, key FROM claims WHERE name = ?"
_CLAIMED = "SELECT 1 FROM claims WHERE name = ? AND source = ? AND (number <> ? OR run = ?)"


@dataclass(frozen=True, slots=True)
class Claims:
    """Files and the rows that wrote them, or were about to: a row that is done again has the same claim.

    In a SQLite file, so that memory does not grow with the run. Several processes may use it, and the shards of a run
    share it. `mark`: a file that each run makes and that goes when it begins anew. `source`: stands for what numbers
    the rows. Claims of another source are of an earlier run, and void.
    """

    path: Path
    mark: Path
    source: str = ""

    @contextmanager
    def opened(self) -> Iterator["OpenClaims"]:
        """Opens the file, and makes it if it is missing. Any thread may use it, one at a time. Raises `OSError`."""
        make_folder(self.path.parent)
        with closing(_connected(self.path)) as database:
            with os_errors(self.path):
                database.execute("BEGIN IMMEDIATE")  # one process makes the mark
                run = self._run() or self._begun()
                database.execute("COMMIT")
            yield OpenClaims(self, database, run)

    def has(self, name: str, number: int) -> bool:
        """Whether a file is of this run, or of another row of its source: it is then none from before."""
        if not self.path.exists():
            return False
        with closing(_connected(self.path)) as database, os_errors(self.path):
            return database.execute(_CLAIMED, (name, self.source, number, self._run())).fetchone() is not None

    def _run(self) -> str | None:
        try:
            return self.mark.read_text()
        except FileNotFoundError:
            return None

    def _begun(self) -> str:
        run, file = uuid4().hex, NewFile(self.mark)
        file.stream.write(run.encode())
        file.commit()
        return run


@dataclass(frozen=True, slots=True)
class OpenClaims:
    """`Claims` with its file open."""

    claims: Claims
    database: sqlite3.Connection
    run: str

    def claim(self, name: str, number: int, key: str) -> tuple[int, str]:
        """The number and the key of the row that the file belongs to: those given, unless another was first.

        Raises `OSError`.
        """
        with os_errors(self.claims.path):
            self.database.execute(_CLAIM, (name, number, key, self.claims.source, self.run))
            found = self.database.execute(_OWNER, (name,)).fetchone()
        return int(found[0]), str(found[1])


def _connected(path: Path) -> sqlite3.Connection:
    with os_errors(path):
        database = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
        try:
            for command in _OPENING:
                database.execute(command)
        except BaseException:
            database.close()
            raise
    return database
