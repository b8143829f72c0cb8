"""What the sources share whose files hold records one after the other: lines, tables, tars."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from blip_serve.jobs.rows import ColumnType, Cut, Row
from blip_serve.jobs.sources.file_list import Files
from blip_serve.jobs.sources.files import open_file
from blip_serve.jobs.sources.inferred import columns_of
from blip_serve.jobs.sources.records import Records, complete

SCANNED = 4096
"""Rows of a cut where they are only counted."""


@dataclass(frozen=True)
class RecordFiles(ABC):
    """Derive a format from it, which says where records begin and reads those of a cut.

    Each cut carries the number of its file, and what `_spans` gave of it.
    """

    files: Files
    records: Records

    def cuts(self, size: int) -> Iterator[Cut]:
        """Scans the files for the places where records begin."""
        index = start = 0
        for number, path in enumerate(self.files.paths):
            with open_file(path) as file:
                for *place, count in self._spans(file, size):
                    yield Cut(index, start, count, (number, *place))
                    index, start = index + 1, start + count

    def rows(self, cut: Cut) -> Iterator[Row]:
        """Reads the cut. If the file has become shorter, the rows that are missing have an `error`."""
        return complete(self._rows(cut), cut, self.files.names[cut.where[0]])

    def identity(self) -> Mapping[str, str]:
        """Each file's size, and when it was changed."""
        return self.files.identity()

    def columns(self) -> Mapping[str, ColumnType]:
        """By the values of the first 1,000 rows."""
        return columns_of(row for cut in self.cuts(256) for row in self.rows(cut))

    def count(self) -> int:
        """Scans the files."""
        return sum(cut.count for cut in self.cuts(SCANNED))

    @abstractmethod
    def _spans(self, file: BinaryIO, size: int) -> Iterator[tuple[int, ...]]:
        """For each cut of at most `size` records where it begins, as `_rows` needs it, and last how many they are."""

    @abstractmethod
    def _rows(self, cut: Cut) -> Iterator[Row]:
        """The rows of a cut, and perhaps more."""
