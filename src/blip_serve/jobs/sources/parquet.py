"""Parquet files as rows. Needs pyarrow, of the extra `bulk`."""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from blip_serve.jobs.rows import KEY, ColumnType, Cut, Row
from blip_serve.jobs.sources.file_list import Files
from blip_serve.jobs.sources.files import open_file, scheme_of
from blip_serve.jobs.sources.parquet_file import Unreadable, batches_of, brief, damage_in, opened, reason_against
from blip_serve.jobs.sources.parquet_values import FAILURES, BatchRows, TooLarge, column_type, is_bytes
from blip_serve.jobs.sources.records import Records, complete, failed

Place = tuple[int, int, int]
"""The number of a file, of a row group in it, and of a row in that."""


class Cursor:
    """A row group that is being read, between two cuts: the next cut need not read it from its start. Not pickled."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: tuple[Place, Iterator[Any]] | None = None

    def take(self, place: Place) -> Iterator[Any] | None:
        """The rows from `place`, if that is where it stands."""
        with self._lock:
            if self._left is None or self._left[0] != place:
                return None
            rows, self._left = self._left[1], None
            return rows

    def leave(self, place: Place, rows: Iterator[Any]) -> None:
        """The rows from `place` are next."""
        with self._lock:
            self._left = place, rows

    def __reduce__(self) -> tuple[type["Cursor"], tuple[()]]:
        return Cursor, ()


@dataclass(frozen=True, slots=True)
class Parquet:
    """The rows of Parquet files. A row's key is its place, such as `train.parquet:0`, counted from 0 in the file.

    Columns of bytes are not read, but for the picture's. A file or row group that is damaged, or over a bound, is a row
    with an `error`. Where damage shows only when the rows are read, each row of the group from there on has an `error`.
    """

    files: Files
    records: Records
    cursor: Cursor = field(default_factory=Cursor, compare=False, repr=False)

    def cuts(self, size: int) -> Iterator[Cut]:
        """By the files' footers. Each cut carries a place, the rows of the file before its row group, and a reason
        against reading it, if there is one."""
        index = start = 0
        for number, path in enumerate(self.files.paths):
            for group, first, count, before, reason in self._spans(path, size):
                yield Cut(index, start, count, ((number, group, first), before, reason))
                index, start = index + 1, start + count

    def rows(self, cut: Cut) -> Iterator[Row]:
        """Reads cuts in a row without starting over. A row that is over `records.max_row_bytes` has an `error`."""
        (number, _, _), before, reason = cut.where
        name = self.files.names[number]
        if reason is None:
            return complete(self._rows(cut), cut, name)
        return iter([failed(cut.start, f"{name}:{before}", reason, "invalid_parquet")])

    def identity(self) -> Mapping[str, str]:
        """Each file's size, and when it was changed."""
        return self.files.identity()

    def columns(self) -> Mapping[str, ColumnType]:
        """By the schema of the first file that can be read."""
        for path in self.files.paths:
            with open_file(path) as file:
                try:
                    schema = opened(file).schema
                except Unreadable:
                    continue
            fields = [schema.field(name) for name in self._names(schema)]
            found = {each.name: column_type(each.type) for each in fields if not is_bytes(each.type)}
            if self.records.columns.takes_key and found.get(KEY) in ("string", "integer"):
                del found[KEY]
            return found
        return {}

    def count(self) -> int:
        """By the files' footers."""
        return sum(cut.count for cut in self.cuts(1_000_000))

    def _names(self, schema: Any) -> list[str]:
        """The columns to read."""
        picture = self.records.columns.picture_in(schema.names)
        return [name for name in schema.names if name == picture or not is_bytes(schema.field(name).type)]

    def _spans(self, path: str, size: int) -> Iterator[tuple[int, int, int, int, str | None]]:
        with open_file(path) as file:
            try:
                found = opened(file)
            except Unreadable as error:
                yield 0, 0, 1, 0, str(error)
                return
            before, names = 0, self._names(found.schema)
            for group, about in enumerate(found.groups):
                reason = reason_against(found, group, names)
                if reason is None and about.rows and not scheme_of(path):  # a request for each page would cost too much
                    reason = damage_in(found, group, names)
                rows = 1 if reason else about.rows
                for first in range(0, rows, size):
                    yield group, first, min(size, rows - first), before, reason
                before += about.rows

    def _rows(self, cut: Cut) -> Iterator[Row]:
        (number, group, first), before, _ = cut.where
        rows = self.cursor.take((number, group, first))
        if rows is None:
            rows = islice(self._raw(number, group), first, None)
        for index, (batch, row) in enumerate(islice(rows, cut.count)):
            if index + 1 == cut.count:  # before the row is given away: nobody need ask for more
                self.cursor.leave((number, group, first + cut.count), rows)
            place = f"{self.files.names[number]}:{before + first + index}"
            yield self._row(cut.start + index, place, batch, row, self.files.folders[number])

    def _raw(self, number: int, group: int) -> Iterator[tuple[BatchRows, int]]:
        with open_file(self.files.paths[number]) as file:
            found = opened(file)
            for batch in batches_of(found, group, self._names(found.schema)):
                made = BatchRows(batch, self.records.max_row_bytes)
                for row in range(batch.num_rows):
                    yield made, row

    def _row(self, number: int, place: str, batch: BatchRows, row: int, folder: str) -> Row:
        try:
            record = batch.record(row)
        except TooLarge as error:
            return failed(number, place, f"the row holds {error}", "row_too_large")
        except FAILURES as error:
            return failed(number, place, f"the row cannot be read ({brief(error)})", "invalid_parquet")
        return self.records.row(number, place, record, folder)
