"""Reads the records of a CSV file one by one, within bounds. Knows no columns."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from blip_serve.jobs.sources.line_starts import BLOCK
from blip_serve.jobs.sources.strict_json import MAX_VALUES

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Record:
    """A record. `offset`, `line`: where it begins, in bytes and from 1. `reason`: why it has no values."""

    offset: int
    line: int
    values: list[str]
    reason: str | None = None


class _TooLong(Exception):
    """The record is over the bound."""


class _Feed:
    """The lines of a file, as `csv.reader` takes them. `offset` and `line`: of the line that comes next."""

    def __init__(self, file: BinaryIO, line: int, max_bytes: int, delimiter: str) -> None:
        self.offset, self.line = file.tell(), line
        self._file, self._max_bytes, self._delimiter = file, max_bytes, delimiter.encode()
        self.begin()

    def begin(self) -> None:
        """A record begins."""
        self.held = self._values = 0

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        data = self._file.readline(self._max_bytes - self.held + 1)
        self._values += data.count(self._delimiter)
        if len(data) + self.held > self._max_bytes or self._values > MAX_VALUES:
            self._skip(data)
            raise _TooLong
        if not data:
            raise StopIteration
        self._took(data)
        return data.decode("utf-8", "surrogateescape")

    def _skip(self, data: bytes) -> None:
        alone = not self.held
        while data:
            self._took(data)
            data = b"" if data.endswith(b"\n") or not alone else self._file.readline(BLOCK)
        self.alone = alone

    def _took(self, data: bytes) -> None:
        self.offset += len(data)
        self.held += len(data)
        self.line += data.endswith(b"\n")


def records_from(file: BinaryIO, line: int, max_bytes: int, delimiter: str) -> Iterator[Record]:
    """The records from where the file is; `line` is the number of its first line. Blank lines are no records.

    A line that is longer than `max_bytes` is passed over. A record of several lines that is longer ends the file: its
    quote is not closed, and where the next record begins nobody knows.
    """
    csv.field_size_limit(max(csv.field_size_limit(), max_bytes))  # the process's own; a record is bounded by the feed
    if file.tell() == 0 and file.read(3) != _BOM:
        file.seek(0)
    feed = _Feed(file, line, max_bytes, delimiter)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    while True:
        feed.begin()
        offset, line = feed.offset, feed.line
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Record(offset, line, [], f"no CSV ({error})")
        except _TooLong:
            if not feed.alone:
                yield Record(
                    offset, line, [], f"a quote that is not closed within {max_bytes} bytes: the file ends here"
                )
                return
            yield Record(offset, line, [], f"more than {max_bytes} bytes or {MAX_VALUES} values")
            reader = csv.reader(feed, delimiter=delimiter, strict=True)
        else:
            if values:
                yield Record(offset, line, values)
