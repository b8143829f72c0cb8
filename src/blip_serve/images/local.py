"""Turns local pictures (paths, bytes, Pillow images) into image sources."""

import io
from pathlib import Path
from typing import TypeAlias

from PIL import Image

from blip_serve.errors import InvalidInput
from blip_serve.images.reference import BytesImage, ImageSource, parse_image

Picture: TypeAlias = str | Path | bytes | Image.Image | ImageSource
"""A path, an http(s) URL, a data URI, a file's bytes, a Pillow image, or an image source."""
PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
"""Pillow's image modes that a PNG file can store."""


def source_of(picture: Picture, param: str) -> ImageSource:
    """A picture as an image source; `param` names it in errors.

    A string is a URL, a data URI or a path. Raises `OSError` for a file that cannot be read, `InvalidInput` for an
    invalid URL or an image without pixels, and `TypeError` for what is no picture.
    """
    if isinstance(picture, ImageSource):
        return picture
    if isinstance(picture, bytes | bytearray | memoryview):
        return BytesImage(bytes(picture), param)
    if isinstance(picture, Image.Image):
        if not all(picture.size):
            raise InvalidInput("The image has no pixels.", code="empty_image", param=param)
        return BytesImage(_file_of(picture), param)
    if not isinstance(picture, str | Path):
        raise TypeError(f"{param}: a path, a URL, bytes or a Pillow image is expected, not {type(picture).__name__}")
    if is_address(picture):
        return parse_image(str(picture), param)
    return BytesImage(Path(picture).read_bytes(), param)


def is_address(picture: str | Path) -> bool:
    """Whether `picture` is a URL or a data URI, and not a path."""
    return isinstance(picture, str) and picture.lower().startswith(("http://", "https://", "data:"))


def _file_of(image: Image.Image) -> bytes:
    """The image as a PNG file. An image whose mode PNG cannot store is converted to RGB."""
    file = io.BytesIO()
    kept = image if image.mode in PNG_MODES else image.convert("RGB")
    kept.save(file, "PNG", compress_level=1)
    return file.getvalue()
