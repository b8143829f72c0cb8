"""What tests of sources share."""

import pickle
from pathlib import Path

from blip_serve.jobs.rows import Row
from blip_serve.jobs.sources.source import Source


def rows_of(source: Source, size: int = 256) -> list[Row]:
    """All rows of a source, read cut by cut from a copy of it, as an actor on another machine does."""
    copy: Source = pickle.loads(pickle.dumps(source))
    cuts = list(source.cuts(size))
    found = [row for cut in cuts for row in _exactly(copy, cut)]
    assert [cut.index for cut in cuts] == list(range(len(cuts)))
    assert all(1 <= cut.count <= size for cut in cuts)
    assert [row.number for row in found] == list(range(len(found)))
    return found


def _exactly(source: Source, cut: object) -> list[Row]:
    again = pickle.loads(pickle.dumps(cut))
    rows = list(source.rows(again))
    assert len(rows) == again.count
    assert rows[0].number == again.start
    return rows


def error_of(row: Row) -> tuple[str, str]:
    """The code and the message of a row's error."""
    assert row.error is not None
    return row.error.code, row.error.message


def written(path: Path, data: bytes | str) -> str:
    """Writes a file; its path as text."""
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return str(path)
