"""Sidecars: a text file beside each picture, as trainers of LoRAs read it (kohya's sd-scripts)."""

import os
import re
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from blip_serve.durable import NewFile, sync_folder
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import BytesImage
from blip_serve.jobs.rows import STATE, Fields, Row
from blip_serve.jobs.sinks.claims import Claims
from blip_serve.jobs.sinks.inside import check_parent, inside, outside
from blip_serve.jobs.sinks.values import text_lines

_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,5}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SidecarSink:
    """A text file a row, at `row.key` below `folder`: `10_cat/photo.jpg` -> `10_cat/photo.txt`.

    `claims`: where it is noted which row wrote which file. `text`: the column, a text or a list of texts. Each is a
    line, in UTF-8: `prefix`, the text, `suffix`. `existing`: what becomes of files that were there before the run.

    `a.jpg` and `a.png` in one folder would share `a.txt`, and a trainer would read it for both. The first row has it;
    the other fails with an error that names both. So do two rows with one key.
    """

    folder: Path
    claims: Claims
    text: str
    extension: str = ".txt"
    prefix: str = ""
    suffix: str = ""
    existing: Literal["skip", "overwrite"] = "skip"

    @property
    def needs_picture(self) -> bool:
        """No: the picture stays where it is."""
        return False

    def has(self, row: Row) -> bool:
        """Whether the file was there before the run, and is to be skipped."""
        try:
            path = self.path_of(row.key)
        except InvalidInput:
            return False  # `SidecarPart.add` says so
        return self.existing == "skip" and os.path.lexists(path) and not self.claims.has(self.name_of(path), row.number)

    def part(self, name: str) -> "SidecarPart":
        """The files of a segment. Their texts are held until it is committed."""
        return SidecarPart(self)

    def join(self, names: Iterable[str]) -> None:
        """Nothing: the files are the destination."""

    def clean(self, names: Iterable[str]) -> None:
        """Nothing: an interrupted write is replaced when its row is done again."""

    def path_of(self, key: str) -> Path:
        """Raises `InvalidInput` as `inside`."""
        stem, extension = os.path.splitext(key)
        name = (stem if _EXTENSION.fullmatch(extension) else key) + self.extension
        if name == key:
            raise outside(key, "has the sidecars' own extension, so the text would replace it")
        root = Path(os.path.realpath(self.folder))
        inside(root, key)  # "" and ".." would become names with the extension
        return inside(root, name)

    def name_of(self, path: Path) -> str:
        """The name of a file in `claims`."""
        return _storable(str(path.relative_to(os.path.realpath(self.folder))))

    def bytes_of(self, fields: Fields) -> bytes:
        """A file's content. Raises `InvalidInput` for a row without a text."""
        lines = text_lines(self.text, fields.get(self.text))
        return "".join(f"{self.prefix}{line}{self.suffix}\n" for line in lines).encode()


class SidecarPart:
    """Texts by the file that they go to."""

    def __init__(self, sink: SidecarSink) -> None:
        self._sink, self._root = sink, Path(os.path.realpath(sink.folder))
        self._texts: dict[Path, bytes] = {}
        self._checked: set[Path] = set()
        self._stack = ExitStack()
        self._claims = self._stack.enter_context(sink.claims.opened())

    def add(self, row: Row, picture: BytesImage | None, fields: Fields) -> None:
        """Raises `InvalidInput`: `invalid_path`, `column_type`, `same_sidecar` for a file that another row wrote."""
        text = self._sink.bytes_of(fields)
        path = self._sink.path_of(row.key)
        self._check(path, row.key)
        number, key = self._claims.claim(self._sink.name_of(path), row.number, _storable(row.key))
        if number != row.number:
            raise _same(f"{row.key[:200]!r} (row {row.number})", f"{key[:200]!r} (row {number})", path)
        self._texts[path] = text

    def commit(self) -> None:
        """Writes all files, then gives them their names. Raises `OSError`; files that have their names stay."""
        files: list[NewFile] = []
        try:
            for path, text in self._texts.items():
                files.append(NewFile(path))
                files[-1].stream.write(text)
                files[-1].sync()
            for file in files:
                file.put()
        except BaseException:
            for file in files:
                file.discard()
            raise
        finally:
            self._stack.close()
        for folder in {path.parent for path in self._texts}:
            sync_folder(folder)

    def discard(self) -> None:
        """Nothing was written before `commit`."""
        self._stack.close()

    def _check(self, path: Path, key: str) -> None:
        if path.parent not in self._checked:
            check_parent(self._root, path.parent, key)
            _check_state(Path(os.path.realpath(path.parent)).relative_to(self._root), key)
            self._checked.add(path.parent)
        _check_state(Path(path.name), key)
        if path.is_dir():
            raise outside(key, f"would be written to {path.name!r}, which is a folder")


def _storable(name: str) -> str:
    """A file's name as UTF-8, though it may hold other bytes."""
    return name.encode("utf-8", "backslashreplace").decode()


def _check_state(path: Path, key: str) -> None:
    """Raises `InvalidInput` for a path to the state of a run: this one's, a shard's, or that of a folder below."""
    if any(name.lower().startswith(STATE) for name in path.parts):
        raise outside(key, f"leads to {STATE!r}, where runs keep their state")


def _same(row: str, owner: str, path: Path) -> InvalidInput:
    return InvalidInput(
        f"{row} and {owner} have the same sidecar file, {path.name!r}. Rename one of them.",
        code="same_sidecar",
        param="key",
    )
