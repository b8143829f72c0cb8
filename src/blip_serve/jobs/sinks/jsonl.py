"""JSON lines: an object a row, its key first."""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from blip_serve.durable import NewFile, remove
from blip_serve.images.reference import BytesImage
from blip_serve.jobs.rows import ColumnType, Fields, Row
from blip_serve.jobs.sinks.json_line import json_line
from blip_serve.jobs.sinks.record import record

_COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class JsonlSink:
    """One file, joined of parts. `parts`: the folder of the parts. `columns`: of the types, only vectors matter.

    A vector's numbers have the nine digits that tell any two float32 apart. A source's column `key` is written as
    `source_key`.
    """

    path: Path
    parts: Path
    columns: Mapping[str, ColumnType] = field(default_factory=dict)

    @property
    def needs_picture(self) -> bool:
        """No: a line holds no bytes."""
        return False

    def has(self, row: Row) -> bool:
        """No: a run has a file of its own."""
        return False

    def part(self, name: str) -> "JsonlPart":
        """A file of lines."""
        return JsonlPart(self._part(name), self.columns)

    def join(self, names: Iterable[str]) -> None:
        """Copies the parts' lines in the order of `names`. Raises `OSError`, as for a part that is missing."""
        concatenate((self._part(name) for name in names), self.path)

    def clean(self, names: Iterable[str]) -> None:
        """Deletes the parts."""
        for name in names:
            remove(self._part(name))

    def _part(self, name: str) -> Path:
        return self.parts / f"{name}.jsonl"


class JsonlPart:
    """Lines, in the order of `add`."""

    def __init__(self, path: Path, columns: Mapping[str, ColumnType]) -> None:
        self._file, self._columns = NewFile(path), columns

    def add(self, row: Row, picture: BytesImage | None, fields: Fields) -> None:
        """Raises `InvalidInput` as `json_line`, `OSError` for a full disk."""
        self._file.stream.write(json_line(record(row, fields, self._columns), self._columns))

    def commit(self) -> None:
        """Raises `OSError`; the part is then discarded."""
        self._file.commit()

    def discard(self) -> None:
        """Deletes the lines."""
        self._file.discard()


def concatenate(parts: Iterable[Path], path: Path) -> None:
    """Makes one file of many, durably. Raises `OSError`; there is then no new file."""
    file = NewFile(path)
    try:
        for part in parts:
            with part.open("rb") as lines:
                shutil.copyfileobj(lines, file.stream, _COPY_BYTES)
    except BaseException:
        file.discard()
        raise
    file.commit()
