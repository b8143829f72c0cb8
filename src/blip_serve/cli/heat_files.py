"""Files of heat over pictures, one a word. Their names come from the picture's and the word's, made safe."""

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image

from blip_serve.domain import WordMap
from blip_serve.heat import heated
from blip_serve.images.decode import Decoder
from blip_serve.images.local import is_address
from blip_serve.images.reference import is_data_uri
from blip_serve.images.thumbnail import thumbnail

SIDE = 1024
"""Pixels. The longest side of a picture in a file; a larger picture is made smaller."""
STEM, WORD = 40, 16
"""The most characters of a picture's and of a word's name. Together at most 255 bytes, which file systems allow."""
_UNSAFE_IN_STEM, _UNSAFE_IN_WORD = re.compile(r"[^\w-]+"), re.compile(r"\W+")
_WRITTEN = re.compile(r"(.+)-\d+-\d+-\w+\.png", re.IGNORECASE)
"""A name that `PictureFiles.write` gives; the first group is the picture's."""


class HeatFiles:
    """Writes heat over pictures into `folder`. No file is replaced, and none is written outside."""

    def __init__(self, folder: Path, decoder: Decoder) -> None:
        """Makes the folder if there is none. Raises `OSError`."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._decoder = decoder
        written = (_WRITTEN.fullmatch(file.name) for file in folder.iterdir())
        self._taken = {found[1].casefold() for found in written if found}

    def of(self, image: str, data: bytes) -> "PictureFiles":
        """The files of the picture `image` (a path or an address). Raises what `Decoder.open` raises for its `data`."""
        picture = thumbnail(self._decoder, data, SIDE, image)
        return PictureFiles(self._folder, self._free(_stem(image)), picture)

    def _free(self, stem: str) -> str:
        """The stem, with a number if another picture has it: of this run, or of one before."""
        free, number = stem, 1
        while free.casefold() in self._taken:
            number += 1
            free = f"{stem}_{number}"
        self._taken.add(free.casefold())
        return free


class PictureFiles:
    """The files of one picture."""

    def __init__(self, folder: Path, stem: str, picture: Image.Image) -> None:
        self._folder = folder
        self._stem = stem
        self._picture = picture

    def write(self, caption: int, words: Sequence[WordMap]) -> tuple[Path, ...]:
        """Writes the heat of each word of the caption number `caption`, from 1. Raises `OSError`."""
        return tuple(self._write(f"{caption}-{number}", word) for number, word in enumerate(words, 1))

    def _write(self, place: str, word: WordMap) -> Path:
        path = self._folder / f"{self._stem}-{place}-{_safe(word.word, _UNSAFE_IN_WORD, WORD) or 'word'}.png"
        with path.open("xb") as file:
            try:
                heated(self._picture, word.map).save(file, "PNG")
            except OSError as error:  # a full disk, say: half a file is no picture, and a write names no file
                path.unlink(missing_ok=True)
                raise OSError(error.errno, error.strerror, str(path)) from None
        return path


def _stem(image: str) -> str:
    """The picture's name without its folder and its ending, made safe."""
    path = image if not is_address(image) else "" if is_data_uri(image) else urlsplit(image).path
    return _safe(Path(path).stem, _UNSAFE_IN_STEM, STEM) or "picture"


def _safe(text: str, unsafe: re.Pattern[str], most: int) -> str:
    """A text as a part of a file's name on any system: at most `most` characters, none of them `unsafe`."""
    return unsafe.sub("_", text[: 4 * most]).strip("_-")[:most]
