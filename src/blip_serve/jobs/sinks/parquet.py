"""Parquet: one file, or a folder of parts. Needs pyarrow."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from blip_serve.durable import NewFile, remove, temporary
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import BytesImage
from blip_serve.jobs.rows import KEY, ColumnType, Fields, Row
from blip_serve.jobs.sinks.columns import IMAGE, arrow, fitting, schema, size
from blip_serve.jobs.sinks.record import record, without

_GROUP_ROWS = 1024
_GROUP_BYTES = 32 * 2**20
"""A row group is written when it has so many rows, or about so many bytes."""


@dataclass(frozen=True, slots=True)
class ParquetSink:
    """Columns of fixed types: `key`, then `columns`; with `pictures` also `image`, as `datasets` reads an `Image`.

    `path`: the file that the parts are joined to, each with its row groups; if `None`, `parts` is the destination.
    There, a part without rows is no file. A source's column `key` is written as `source_key`, and so `image`.
    """

    path: Path | None
    parts: Path
    columns: Mapping[str, ColumnType]
    pictures: bool = False

    @property
    def needs_picture(self) -> bool:
        """Only if its bytes are written."""
        return self.pictures

    def has(self, row: Row) -> bool:
        """No: a run has a file or folder of its own."""
        return False

    def part(self, name: str) -> "ParquetPart":
        """A file of row groups."""
        return ParquetPart(self, self._part(name))

    def join(self, names: Iterable[str]) -> None:
        """Copies the parts' row groups, one at a time. Raises `OSError`, as for a part that is missing."""
        if self.path is None:
            return
        groups = RowGroups(self.path, self.schema())
        try:
            for name in names:
                with pq.ParquetFile(self._part(name)) as part:
                    for i in range(part.num_row_groups):
                        groups.write(part.read_row_group(i))
            groups.close()
        except BaseException:
            groups.discard()
            raise

    def clean(self, names: Iterable[str]) -> None:
        """Deletes the parts, or of a folder what interrupted writes left."""
        delete = remove if self.path else _remove_temporary
        for name in names:
            delete(self._part(name))

    def typed(self) -> dict[str, ColumnType]:
        """The columns as they are written, but for the picture."""
        return {KEY: "string", **without(self.columns, self.reserved(), self.columns)}

    def reserved(self) -> tuple[str, ...]:
        """The names that a source's columns cannot have."""
        return (KEY, IMAGE) if self.pictures else (KEY,)

    def schema(self) -> Any:
        """The columns' Arrow types."""
        return schema(self.typed(), self.pictures)

    def _part(self, name: str) -> Path:
        return self.parts / f"part-{name}.parquet"


class ParquetPart:
    """Rows, written by groups."""

    def __init__(self, sink: ParquetSink, path: Path) -> None:
        self._sink, self._path, self._typed = sink, path, sink.typed()
        self._groups = RowGroups(path, sink.schema())
        self._columns: dict[str, list[Any]] = {name: [] for name in self._groups.schema.names}
        self._rows = self._bytes = 0
        self._empty = True

    def add(self, row: Row, picture: BytesImage | None, fields: Fields) -> None:
        """Raises `InvalidInput`: `column_type`. `OSError` for a full disk."""
        values = self._fitting(record(row, fields, self._sink.columns, self._sink.reserved()))
        if self._sink.pictures:
            assert picture is not None  # `needs_picture`
            values[IMAGE] = {"bytes": picture.data, "path": row.key.rpartition("/")[2]}
            self._bytes += len(picture.data)
        for name, column in self._columns.items():
            column.append(values[name])
        self._bytes += sum(map(size, values.values()))
        self._rows += 1
        if self._rows >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self._flush()

    def commit(self) -> None:
        """Raises `OSError`; the part is then discarded."""
        try:
            self._flush()
            if self._empty and self._sink.path is None:
                self.discard()
                remove(self._path)
            else:
                self._groups.close()
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Deletes the rows."""
        self._groups.discard()

    def _fitting(self, values: Mapping[str, Any]) -> dict[str, Any]:
        for name in values.keys() - self._typed.keys():
            if values[name] is not None:
                raise _no_column(name)
        return {name: fitting(name, kind, values.get(name)) for name, kind in self._typed.items()}

    def _flush(self) -> None:
        if not self._rows:
            return
        made = [arrow(kind, self._columns[name]) for name, kind in self._typed.items()]
        if self._sink.pictures:
            made.append(pa.array(self._columns[IMAGE], self._groups.schema.field(IMAGE).type))
        self._groups.write(pa.Table.from_arrays(made, schema=self._groups.schema))
        for column in self._columns.values():
            column.clear()
        self._rows = self._bytes = 0
        self._empty = False


class RowGroups:
    """A Parquet file that is written a row group at a time. The same rows give the same bytes."""

    def __init__(self, path: Path, schema: Any) -> None:
        self.schema = schema
        self._file = NewFile(path)
        repeating = [column.name for column in schema if not pa.types.is_nested(column.type)]
        self._writer = pq.ParquetWriter(self._file.stream, schema, use_dictionary=repeating)

    def write(self, table: Any) -> None:
        """Adds a row group. Raises `OSError` for a full disk."""
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))

    def close(self) -> None:
        """Puts the file in its place. Raises `OSError`; it is then discarded."""
        self._writer.close()
        self._file.commit()

    def discard(self) -> None:
        """Leaves no file behind."""
        with suppress(OSError, ValueError):  # it writes its footer, for which a full disk has no room
            self._writer.close()
        self._file.discard()


def _remove_temporary(path: Path) -> None:
    temporary(path).unlink(missing_ok=True)


def _no_column(name: str) -> InvalidInput:
    message = f"The first rows have no column {name[:100]!r}, and those of a Parquet file are fixed. Write JSON lines."
    return InvalidInput(message, code="column_type", param=name[:100])
