"""A gallery: pictures, and the texts that are true of each. Checked whole before anything is asked."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate

from blip_serve.errors import ConfigurationError
from blip_serve.jobs.rows import FilePicture
from blip_serve.jobs.sources.files import scheme_of

MAX_PICTURES, MAX_TEXTS = 100_000, 500_000
"""Vectors of so many are held in memory: 600 MB."""
NAMED = 5
"""Pictures at fault that are named; of the others it is said how many there are."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture, its name in the data set, and its texts. `number`: what COCO's format knows it by."""

    name: str
    picture: FilePicture
    texts: tuple[str, ...]
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Gallery:
    """Entries in the data set's order. `digest`: of the names, the texts, and the sizes of the pictures' files."""

    entries: Sequence[Entry]
    digest: str

    @property
    def texts(self) -> list[str]:
        """All texts, in the order of their pictures."""
        return [text for entry in self.entries for text in entry.texts]

    @property
    def texts_of(self) -> list[range]:
        """For each picture the indices of its texts."""
        ends = list(accumulate(len(entry.texts) for entry in self.entries))
        return [range(end - len(entry.texts), end) for entry, end in zip(self.entries, ends, strict=True)]

    @property
    def owners(self) -> list[int]:
        """For each text the index of its picture."""
        return [index for index, entry in enumerate(self.entries) for _ in entry.texts]


def gallery(entries: Iterable[Entry], data: str) -> Gallery:
    """The gallery of `entries`, which `data` has.

    Raises `ConfigurationError` if it is empty or too large, and naming some of the pictures that are not there, that
    have no text, or a blank one.
    """
    found: list[Entry] = []
    missing: list[str] = []
    wordless: list[str] = []
    digest, texts = sha256(), 0
    for entry in entries:
        size = _size(entry.picture)
        if size is None:
            missing.append(entry.name)
        if not entry.texts or not all(text.strip() for text in entry.texts):
            wordless.append(entry.name)
        found.append(entry)
        texts += len(entry.texts)
        if len(found) > MAX_PICTURES or texts > MAX_TEXTS:
            raise ConfigurationError(f"{data}: it has more than {MAX_PICTURES:,} pictures or {MAX_TEXTS:,} texts")
        digest.update(repr((entry.name, size, entry.texts)).encode())
    if missing:
        raise ConfigurationError(f"{data}: there is no file of {_named(missing)}; --images names their folder")
    if wordless:
        raise ConfigurationError(f"{data}: no text, or a blank one, of {_named(wordless)}")
    if not found:
        raise ConfigurationError(f"{data}: it has no pictures")
    return Gallery(tuple(found), digest.hexdigest())


def _size(picture: FilePicture) -> int | None:
    """Bytes of a picture's file, `None` if there is none. Files at a URL are not looked at: 0."""
    if scheme_of(picture.path):
        return 0
    try:
        return os.stat(picture.path).st_size
    except OSError:
        return None


def _named(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
