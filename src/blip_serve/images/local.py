"""Pictures as they lie on one's own machine: paths, bytes and Pillow's images to image sources."""

import io
from pathlib import Path
from typing import TypeAlias

from PIL import Image

from blip_serve.images.reference import BytesImage, ImageSource, parse_image

Picture: TypeAlias = str | Path | bytes | Image.Image | ImageSource
"""A path, an http(s) URL, a data URI, a file's bytes, a Pillow image, or an image source."""
PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
"""Modes of Pillow's images that a PNG file holds."""


def source_of(picture: Picture, param: str) -> ImageSource:
    """A picture as an image source; `param` names it in errors.

    A string is a URL, a data URI or a path. Raises `OSError` for a file that cannot be read, `InvalidInput` for a URL
    that is none.
    """
    if isinstance(picture, ImageSource):
        return picture
    if isinstance(picture, bytes):
        return BytesImage(picture, param)
    if isinstance(picture, Image.Image):
        return BytesImage(_file_of(picture), param)
    if is_address(picture):
        return parse_image(str(picture), param)
    return BytesImage(Path(picture).read_bytes(), param)


def is_address(picture: str | Path) -> bool:
    """Whether it is a URL or a data URI, and no path."""
    return isinstance(picture, str) and picture.lower().startswith(("http://", "https://", "data:"))


def _file_of(image: Image.Image) -> bytes:
    """A PNG file of an image, lossless; of a mode that PNG does not have, of its RGB."""
    file = io.BytesIO()
    kept = image if image.mode in PNG_MODES else image.convert("RGB")
    kept.save(file, "PNG", compress_level=1)
    return file.getvalue()
