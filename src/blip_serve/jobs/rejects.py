"""The file of rows that were dropped or failed, with the reason of each. JSON, a row a line."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from blip_serve.durable import NewFile, remove
from blip_serve.errors import InvalidInput
from blip_serve.jobs.manifest import cut_of
from blip_serve.jobs.rows import Dropped, Failed, Fields, Row
from blip_serve.jobs.sinks.json_line import json_line
from blip_serve.jobs.sinks.record import without

RESERVED = ("row", "key", "reason", "error")
"""What a line says of its row, before the row's columns."""


@dataclass(frozen=True, slots=True)
class Rejects:
    """Where rejected rows go. `path`: the file made at the end, absent if there are none. `folder`: its parts."""

    path: Path
    folder: Path

    def part(self, name: str) -> "RejectedPart":
        """A new part; `name` as for a sink's part. One without rows is no file."""
        return RejectedPart(self._part(name))

    def join(self, names: Iterable[str]) -> None:
        """Makes the file of its parts. A row that was taken up again counts as it ended the last time."""
        whole = NewFile(self.path)
        try:
            for _, of_cut in groupby(names, cut_of):
                whole.stream.writelines(self._lines(of_cut))
            empty = not whole.stream.tell()
        except BaseException:
            whole.discard()
            raise
        if empty:
            whole.discard()
            remove(self.path)
        else:
            whole.commit()

    def clean(self, names: Iterable[str]) -> None:
        """Deletes the parts."""
        for name in names:
            remove(self._part(name))

    def _lines(self, names: Iterable[str]) -> Iterator[bytes]:
        """The lines of one cut's parts, in the order of the rows."""
        last: dict[int, bytes] = {}
        for name in names:
            if self._part(name).exists():
                with self._part(name).open("rb") as part:
                    for line in part:
                        about = json.loads(line)
                        last[about["row"]] = line if len(about) > 1 else b""
        return (line for _, line in sorted(last.items()))

    def _part(self, name: str) -> Path:
        return self.folder / f"{name}.jsonl"


@dataclass(slots=True)
class RejectedPart:
    """The rejected rows of one segment while they are written."""

    path: Path
    file: NewFile | None = None

    def add(self, row: Row, outcome: Dropped | Failed, fields: Fields) -> None:
        """Adds a row: its number and key, its reason or error, and its columns.

        Columns of these names have others here: `key` of a source is `source_key`. `OSError` for a full disk.
        """
        about: Fields = {"row": row.number, "key": row.key, **_why(outcome)}
        self._write(_line(about, without(fields, RESERVED, ())))

    def passed(self, row: Row) -> None:
        """Notes that a row passed that had failed before."""
        self._write(_line({"row": row.number}, {}))

    def commit(self) -> None:
        """Puts the part in its place, durably. Raises `OSError`; the part is then discarded."""
        if self.file is None:
            remove(self.path)  # of an interrupted run
        else:
            self.file.commit()

    def discard(self) -> None:
        """Leaves nothing behind."""
        if self.file is not None:
            self.file.discard()

    def _write(self, line: bytes) -> None:
        self.file = self.file or NewFile(self.path)
        self.file.stream.write(line)


def _why(outcome: Dropped | Failed) -> Fields:
    if isinstance(outcome, Dropped):
        return {"reason": outcome.reason}
    error = outcome.error
    return {"error": {"code": error.code, "message": error.message, "param": error.param}}


def _line(about: Fields, fields: Fields) -> bytes:
    try:
        return json_line({**about, **fields}, {})
    except InvalidInput:  # a value that JSON cannot hold, such as NaN of a Parquet file
        return json_line({**about, **{name: str(value) for name, value in fields.items()}}, {})
