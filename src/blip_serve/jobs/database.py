"""How the errors of SQLite reach a user: as those of the file. Knows no table."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def os_errors(path: Path) -> Iterator[None]:
    """A full disk or a damaged file is an `OSError` that names the file at `path`, whoever meets it."""
    try:
        yield
    except sqlite3.Error as error:
        raise OSError(None, str(error), str(path)) from error
