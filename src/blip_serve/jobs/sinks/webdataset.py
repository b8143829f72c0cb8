"""WebDataset: a folder of tars, a sample a row."""

import io
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from blip_serve.durable import NewFile, remove, temporary
from blip_serve.images.reference import BytesImage
from blip_serve.jobs.rows import ColumnType, Fields, Row
from blip_serve.jobs.sinks.json_line import json_line
from blip_serve.jobs.sinks.picture import extension
from blip_serve.jobs.sinks.record import record
from blip_serve.jobs.sinks.values import text_lines


@dataclass(frozen=True, slots=True)
class WebDatasetSink:
    """A tar a part, `000017.tar`. A sample is named by its row's number, never by what a source calls it.

    It holds the picture's bytes, under the ending of their format (`000000123.jpg`); the text of the column `text`, a
    line each (`.txt`); its key and all columns (`.json`). The headers are the same on every machine. A part without
    rows is no file.
    """

    folder: Path
    text: str | None = None
    columns: Mapping[str, ColumnType] = field(default_factory=dict)

    @property
    def needs_picture(self) -> bool:
        """Yes."""
        return True

    def has(self, row: Row) -> bool:
        """No: a run has a folder of its own."""
        return False

    def part(self, name: str) -> "WebDatasetPart":
        """A tar."""
        return WebDatasetPart(self, self._part(name))

    def join(self, names: Iterable[str]) -> None:
        """Nothing: the parts are the destination."""

    def clean(self, names: Iterable[str]) -> None:
        """Deletes what interrupted writes left."""
        for name in names:
            temporary(self._part(name)).unlink(missing_ok=True)

    def members(self, row: Row, picture: BytesImage | None, fields: Fields) -> dict[str, bytes]:
        """A sample by the endings of its members. Raises `InvalidInput`."""
        assert picture is not None  # `needs_picture`
        found = {extension(picture): picture.data}
        text = None if self.text is None else fields.get(self.text)
        if self.text is not None and text is not None:
            found["txt"] = "\n".join(text_lines(self.text, text)).encode()
        return found | {"json": json_line(record(row, fields, self.columns), self.columns)}

    def _part(self, name: str) -> Path:
        return self.folder / f"{name}.tar"


class WebDatasetPart:
    """Samples, in the order of `add`."""

    def __init__(self, sink: WebDatasetSink, path: Path) -> None:
        self._sink, self._path, self._file = sink, path, NewFile(path)
        self._tar = tarfile.TarFile(fileobj=self._file.stream, mode="w", format=tarfile.USTAR_FORMAT)
        self._empty = True

    def add(self, row: Row, picture: BytesImage | None, fields: Fields) -> None:
        """Raises `InvalidInput` as `json_line` and `extension`, `OSError` for a full disk."""
        members = self._sink.members(row, picture, fields)
        self._empty = False
        for ending, data in members.items():
            member = tarfile.TarInfo(f"{row.number:09d}.{ending}")  # mode 0644; of no user, at no time
            member.size = len(data)
            self._tar.addfile(member, io.BytesIO(data))

    def commit(self) -> None:
        """Raises `OSError`; the part is then discarded."""
        if self._empty:
            self.discard()
            remove(self._path)
            return
        try:
            self._tar.close()
        except BaseException:
            self.discard()
            raise
        self._file.commit()

    def discard(self) -> None:
        """Deletes the samples."""
        self._file.discard()
