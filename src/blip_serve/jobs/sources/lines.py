"""JSON Lines as rows: an object a line."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from blip_serve.jobs.rows import Cut, Row
from blip_serve.jobs.sources.files import open_file
from blip_serve.jobs.sources.line_starts import lines_from, spans
from blip_serve.jobs.sources.record_files import RecordFiles
from blip_serve.jobs.sources.records import failed
from blip_serve.jobs.sources.strict_json import NotAnObject, json_object


@dataclass(frozen=True, slots=True)
class Lines(RecordFiles):
    """The lines of JSONL files. A row's key is its place, such as `pairs.jsonl:17`; blank lines are no rows.

    A line of more than `records.max_row_bytes` is never held: its row has an `error`.
    """

    def _spans(self, file: BinaryIO, size: int) -> Iterator[tuple[int, ...]]:
        return spans(file, size)

    def _rows(self, cut: Cut) -> Iterator[Row]:
        number, offset, first = cut.where
        with open_file(self.files.paths[number]) as file:
            file.seek(offset)
            lines = lines_from(file, first, self.records.max_row_bytes)
            for index, (line, data) in enumerate(lines, cut.start):
                yield self._row(index, f"{self.files.names[number]}:{line}", data, self.files.folders[number])

    def _row(self, number: int, place: str, data: bytes | None, folder: str) -> Row:
        if data is None:
            return failed(number, place, f"the line is longer than {self.records.max_row_bytes} bytes", "row_too_large")
        try:
            record = json_object(data)
        except NotAnObject as error:
            return failed(number, place, f"the line holds {error}", "invalid_json")
        return self.records.row(number, place, record, folder)
