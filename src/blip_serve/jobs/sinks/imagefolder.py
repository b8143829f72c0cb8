"""ImageFolder of Hugging Face `datasets`: pictures in a folder, and `metadata.jsonl` with a line each."""

import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blip_serve.durable import NewFile, remove, sync_folder
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import BytesImage
from blip_serve.jobs.destination import METADATA
from blip_serve.jobs.rows import ColumnType, Fields, FilePicture, Row
from blip_serve.jobs.sinks.json_line import json_line, json_text
from blip_serve.jobs.sinks.jsonl import concatenate
from blip_serve.jobs.sinks.picture import extension
from blip_serve.jobs.sinks.record import record, renamed

_NAME = "file_name"
_IMAGES = "images"
_MEANS_FILE = re.compile(r"file_name(s?)$")
"""Columns whose names end so are pictures to `datasets`."""


@dataclass(frozen=True, slots=True)
class ImageFolderSink:
    """`metadata.jsonl` in `folder`, joined of parts. `parts`: the folder of the parts. `columns`: their types.

    `copy`: whether the pictures are copied to `images/`, named by their rows' numbers. Otherwise they stay where they
    are, which must be below `folder`. A column of the type `json` is written as JSON text: `datasets` wants one shape.
    A source's column that ends in `file_name` ends in `filename` here: `datasets` would take it for a picture.
    """

    folder: Path
    parts: Path
    copy: bool
    columns: Mapping[str, ColumnType] = field(default_factory=dict)

    @property
    def needs_picture(self) -> bool:
        """Only to copy it."""
        return self.copy

    def has(self, row: Row) -> bool:
        """No: `metadata.jsonl` is made as a whole."""
        return False

    def part(self, name: str) -> "ImageFolderPart":
        """Lines, and the pictures that are copied."""
        return ImageFolderPart(self, self._part(name))

    def join(self, names: Iterable[str]) -> None:
        """Makes `metadata.jsonl`. Raises `OSError`, as for a part that is missing."""
        concatenate((self._part(name) for name in names), self.folder / METADATA)

    def clean(self, names: Iterable[str]) -> None:
        """Deletes the parts' lines."""
        for name in names:
            remove(self._part(name))

    def name_of(self, row: Row, picture: BytesImage | None) -> str:
        """A picture's `file_name`. Raises `InvalidInput`."""
        if not self.copy:
            return _below(self.folder, row)
        assert picture is not None  # `needs_picture`
        return f"{_IMAGES}/{row.number:09d}.{extension(picture)}"

    def line(self, row: Row, name: str, fields: Fields) -> bytes:
        """A row of `metadata.jsonl`. Raises `InvalidInput` as `json_line`."""
        typed = {column: self._typed(column, value) for column, value in fields.items()}
        columns = _renamed(self.columns, self.columns)
        return json_line({_NAME: name, **record(row, _renamed(typed, self.columns), columns)}, columns)

    def _typed(self, name: str, value: Any) -> Any:
        return json_text(name, value) if self.columns.get(name) == "json" and value is not None else value

    def _part(self, name: str) -> Path:
        return self.parts / f"{name}.jsonl"


class ImageFolderPart:
    """Lines, and the pictures that they name."""

    def __init__(self, sink: ImageFolderSink, path: Path) -> None:
        self._sink, self._lines = sink, NewFile(path)
        self._pictures: list[NewFile] = []

    def add(self, row: Row, picture: BytesImage | None, fields: Fields) -> None:
        """Raises `InvalidInput`: `picture_elsewhere`, those of `json_line`. `OSError` for a full disk."""
        name = self._sink.name_of(row, picture)
        line = self._sink.line(row, name, fields)
        if self._sink.copy and picture is not None:
            self._copy(name, picture.data)
        self._lines.stream.write(line)

    def commit(self) -> None:
        """The pictures first, so that each line has its own. Raises `OSError`; the lines are then discarded."""
        try:
            for picture in self._pictures:
                picture.put()
            if self._pictures:
                sync_folder(self._sink.folder / _IMAGES)
        except BaseException:
            self.discard()
            raise
        self._lines.commit()

    def discard(self) -> None:
        """Deletes the lines and the pictures."""
        for file in (self._lines, *self._pictures):
            file.discard()

    def _copy(self, name: str, data: bytes) -> None:
        self._pictures.append(NewFile(self._sink.folder / name))
        self._pictures[-1].stream.write(data)
        self._pictures[-1].sync()  # not at the commit: a segment may have more files than a process may have open


def _renamed(columns: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """The columns, with other names for those that would be taken for pictures."""
    return renamed(columns, known, lambda name: _MEANS_FILE.sub(r"filename\1", name))


def _below(folder: Path, row: Row) -> str:
    """The path of a row's picture, relative to `folder`. Links to folders are followed first."""
    if isinstance(row.picture, FilePicture):
        parent, name = os.path.split(row.picture.path)
        path = Path(os.path.realpath(parent), name)
        if path.is_relative_to(os.path.realpath(folder)):
            return path.relative_to(os.path.realpath(folder)).as_posix()
    raise InvalidInput(
        f"The row's picture is no file below the folder of {METADATA}. Give a folder, to which pictures are copied.",
        code="picture_elsewhere",
    )
