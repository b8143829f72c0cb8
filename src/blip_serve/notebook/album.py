"""The pictures of a result, as they were given. They are read, decoded and made small only when they are shown."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from weakref import ref

from PIL import Image

from blip_serve.domain import Caption
from blip_serve.errors import ServiceError
from blip_serve.heat import Grid, heated, strongest
from blip_serve.images.decode import Decoder
from blip_serve.images.local import is_address
from blip_serve.images.reference import Base64Image, BytesImage, UrlImage, decode_base64
from blip_serve.images.thumbnail import thumbnail
from blip_serve.notebook.markup import Html, image, tag
from blip_serve.notebook.recent import Held, Recent
from blip_serve.settings import ImageSettings
from blip_serve.tasks.inputs import Input

Kept: TypeAlias = "Path | ref[Held] | UrlImage | Caption"
"""An input to show later. A file is kept as its path, and data as a reference that may be dead by then."""
MOST = 24
"""The most pictures, or lines, that are shown of one thing. The others are counted."""
SIDE, SMALL = 256, 128
"""Pixels. The longest sides of thumbnails."""
SHOWN_CHARS = 200
"""The most characters of a text that are shown."""


@dataclass(frozen=True, slots=True)
class Given:
    """The inputs of a request, to be shown, and the settings to decode pictures with."""

    settings: ImageSettings
    inputs: tuple[Kept, ...]


def given(settings: ImageSettings, recent: Recent, inputs: Sequence[object], read: Sequence[Input]) -> Given:
    """What to keep of `inputs`, which were read as `read`. Data go to `recent`."""

    def kept(each: object, source: Input) -> Kept:
        if isinstance(source, UrlImage | Caption):
            return source
        if isinstance(each, str | Path) and not is_address(each):
            return Path(each).absolute()
        assert isinstance(source, BytesImage | Base64Image)
        return recent.keep(source)

    return Given(settings, tuple(map(kept, inputs, read)))


class Album:
    """Shows inputs, at most `MOST` pictures in all. Each is decoded once."""

    def __init__(self, given: Given) -> None:
        self._inputs = given.inputs
        self._max_bytes = given.settings.max_bytes
        self._decoder = Decoder(given.settings)
        self._thumbnails: dict[int, Image.Image | None] = {}
        self._left = MOST

    def input(self, index: int, side: int = SIDE) -> Html:
        """A text; or a picture with its name below, `side` pixels at most."""
        each = self._inputs[index]
        return tag("span", short(each.text)) if isinstance(each, Caption) else self._figure(index, side)

    def heat(self, index: int, grid: Grid, word: str, note: str) -> Html:
        """A picture with the heat of a word over it, and the word and a note below."""
        about = f"{self._name(index)}: {short(word)}, strongest: {strongest(grid)}"
        return _figure(self._image(index, SMALL, about, grid), tag("b", short(word)), f" {note}")

    def _figure(self, index: int, side: int) -> Html:
        name = self._name(index)
        return _figure(self._image(index, side, name), name)

    def _name(self, index: int) -> str:
        each = self._inputs[index]
        return short(
            each.name if isinstance(each, Path) else each.url if isinstance(each, UrlImage) else _number(index)
        )

    def _image(self, index: int, side: int, about: str, grid: Grid | None = None) -> Html:
        """The picture; nothing if it is not kept or readable any more, or if there are too many."""
        found = self._thumbnail(index)
        if found is None or self._left == 0:
            return tag("span")
        self._left -= 1
        small = found.copy()
        small.thumbnail((side, side))
        return image(_data_uri(small if grid is None else heated(small, grid)), about)

    def _thumbnail(self, index: int) -> Image.Image | None:
        if index not in self._thumbnails:
            try:
                data = _bytes_of(self._inputs[index], self._max_bytes)
                self._thumbnails[index] = thumbnail(self._decoder, data, SIDE, _number(index)) if data else None
            except (OSError, ServiceError):
                self._thumbnails[index] = None
        return self._thumbnails[index]


def short(text: str) -> str:
    """A text, or its beginning if it is long."""
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}..."


def _figure(picture: Html, *below: str) -> Html:
    under = tag("figcaption", *below, style="font-size:85%;overflow-wrap:anywhere")
    return tag("figure", picture, under, style="margin:0;max-width:256px")


def _number(index: int) -> str:
    return f"picture {index + 1}"


def _bytes_of(kept: Kept, max_bytes: int) -> bytes | None:
    """The file of a picture; `None` for an address, which is not fetched again, and for data that are not kept."""
    match kept:
        case Path():
            return kept.read_bytes()
        case ref():
            source = getattr(kept(), "source", None)
            return decode_base64(source, max_bytes) if isinstance(source, Base64Image) else source and source.data
        case _:
            return None


def _data_uri(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
