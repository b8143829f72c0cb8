"""Pictures in folders and files as rows. Knows how no picture is decoded."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path

from blip_serve.domain import ImageFormat
from blip_serve.jobs.rows import ColumnType, Cut, FilePicture, Row
from blip_serve.jobs.sources.files import below, folder_of, is_folder, listed, scheme_of
from blip_serve.jobs.sources.walk import Found, PassedOver, walk

SUFFIXES = frozenset(
    ("avif", "bmp", "dib", "gif", "heic", "heif", "jfif", "jpe", "jpeg", "jpg", "png", "tif", "tiff", "webp")
)
"""What the names of pictures at a URL end with: to look into each of them would cost a request."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a walk through folders finds. `digest`: of the pictures' names, and in local folders their sizes."""

    count: int
    digest: str
    passed_over: tuple[str, ...]


@dataclass(frozen=True)
class Folder:
    """The pictures in folders and the files given, in the order given; in a folder sorted by name.

    A row's key is the file's path below the folder; below the nearest common folder, if several are given. A file in a
    folder is a row if its content is of one of `formats`; at a URL, if its name ends as a picture's does. Files given
    by name are always rows.
    """

    given: tuple[str, ...]
    formats: frozenset[ImageFormat]
    base: str = field(init=False)

    def __post_init__(self) -> None:
        alone = len(self.given) == 1 and is_folder(self.given[0])
        object.__setattr__(self, "base", self.given[0].rstrip("/") or "/" if alone else folder_of(self.given))
        if alone and not scheme_of(self.base):
            object.__setattr__(self, "base", os.path.abspath(self.base))

    def cuts(self, size: int) -> Iterator[Cut]:
        """Each cut carries the keys of its rows: no listing is held."""
        keys, index = self._keys(), 0
        while some := tuple(islice(keys, size)):
            yield Cut(index, index * size, len(some), some)
            index += 1

    def rows(self, cut: Cut) -> Iterator[Row]:
        """The pictures are not read: a file that has gone since fails when its picture is loaded."""
        for number, key in enumerate(cut.where, cut.start):
            yield Row(number, key, {"file_name": key}, FilePicture(f"{self.base.rstrip('/')}/{key}"))

    def identity(self) -> Mapping[str, str]:
        """How many pictures there are, and the digest of their keys and sizes: a folder that has changed is another
        source. At a URL, of their keys alone."""
        return {", ".join(self.given): f"{self._survey.count} pictures, digest {self._survey.digest}"}

    def columns(self) -> Mapping[str, ColumnType]:
        """The file's name alone."""
        return {"file_name": "string"}

    def count(self) -> int:
        """As many as there were when it was first asked for this or its identity."""
        return self._survey.count

    def passed_over(self) -> tuple[str, ...]:
        """A line for each reason why files in the folders are no rows, with how many, and the names of a few."""
        return self._survey.passed_over

    @cached_property
    def _survey(self) -> Survey:
        """Walks the folders, once: in large ones that takes minutes."""
        count, digest, passed_over = 0, hashlib.sha256(), PassedOver()
        for key, found in self._files():
            if found is not None and found.reason:
                passed_over.add(found.reason, key)
                continue
            count += 1
            digest.update(os.fsencode(key) + b"\0" + (b"" if found is None else _size(found.path)))
        return Survey(count, digest.hexdigest()[:16], tuple(passed_over.lines()))

    def _keys(self) -> Iterator[str]:
        return (key for key, found in self._files() if found is None or found.reason is None)

    def _files(self) -> Iterator[tuple[str, Found | None]]:
        """The files by key. `None`: what there is at a URL is only listed."""
        for each in self.given:
            if scheme_of(each):
                urls = listed(each) if is_folder(each) else [each]
                yield from ((below(self.base, url), None) for url in urls if url == each or _named_as_picture(url))
        yield from ((below(self.base, str(found.path)), found) for found in self._found())

    def _found(self) -> Iterator[Found]:
        for each in self.given:
            if not scheme_of(each):
                yield from walk(Path(each), self.formats) if os.path.isdir(each) else [Found(Path(each))]


def _size(path: Path) -> bytes:
    try:
        return b"%d\0" % path.stat().st_size
    except OSError:  # it has gone since: its row will say so
        return b"\0"


def _named_as_picture(url: str) -> bool:
    name = url.rpartition("/")[2].lower()
    return not name.startswith(".") and name.rpartition(".")[2] in SUFFIXES
