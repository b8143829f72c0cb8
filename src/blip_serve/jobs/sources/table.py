"""CSV and TSV files as rows, with a header. All values are strings."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from blip_serve.jobs.rows import Cut, Row
from blip_serve.jobs.sources.csv_records import Record, records_from
from blip_serve.jobs.sources.file_list import Files
from blip_serve.jobs.sources.files import open_file
from blip_serve.jobs.sources.record_files import RecordFiles
from blip_serve.jobs.sources.records import Records, failed


@dataclass(frozen=True, slots=True)
class Table(RecordFiles):
    """The records of CSV files. A row's key is its place, such as `pairs.csv:17`, its first line.

    A record that is no CSV, is over `records.max_row_bytes`, or has not as many values as the header, is a row with an
    `error`. A file whose header is wrong is one such row.
    """

    delimiter: str = ","

    def _spans(self, file: BinaryIO, size: int) -> Iterator[tuple[int, ...]]:
        header, records = self._opened(file)
        if header is None:
            return
        if header.reason:
            yield 0, 1, 1
            return
        first, count = header, 0
        for record in records:
            first, count = (first, count + 1) if count else (record, 1)
            if count == size:
                yield first.offset, first.line, count
                count = 0
        if count:
            yield first.offset, first.line, count

    def _rows(self, cut: Cut) -> Iterator[Row]:
        number, offset, line = cut.where
        name, folder = self.files.names[number], self.files.folders[number]
        with open_file(self.files.paths[number]) as file:
            header, _ = self._opened(file)
            if header is None or header.reason:
                yield failed(cut.start, f"{name}:1", f"the header holds {header and header.reason}", "invalid_csv")
                return
            file.seek(offset)
            records = records_from(file, line, self.records.max_row_bytes, self.delimiter)
            for index, record in enumerate(records, cut.start):
                yield self._row(index, f"{name}:{record.line}", header.values, record, folder)

    def _opened(self, file: BinaryIO) -> tuple[Record | None, Iterator[Record]]:
        """The header, and the records that follow it. `None` for an empty file."""
        records = records_from(file, 1, self.records.max_row_bytes, self.delimiter)
        header = next(records, None)
        return header and _checked(header), records

    def _row(self, number: int, place: str, names: list[str], record: Record, folder: str) -> Row:
        reason = record.reason or _wrong(record.values)
        if reason is None and len(record.values) != len(names):
            reason = f"{len(record.values)} values, but the header {len(names)}"
        if reason:
            return failed(number, place, f"the record holds {reason}", "invalid_csv")
        return self.records.row(number, place, dict(zip(names, record.values, strict=True)), folder)


def tab_separated(files: Files, records: Records) -> Table:
    """The records of TSV files."""
    return Table(files, records, "\t")


def _checked(header: Record) -> Record:
    reason = header.reason or _wrong(header.values)
    if reason is None and len(set(header.values)) < len(header.values):
        reason = "a name twice"
    return Record(header.offset, header.line, header.values, reason)


def _wrong(values: list[str]) -> str | None:
    try:
        "".join(values).encode()
    except UnicodeEncodeError:
        return "no UTF-8"
    return None
