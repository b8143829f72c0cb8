"""Rotates a picture by the orientation in its EXIF or XMP data. Decodes no pixels."""

import re
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

from PIL import ExifTags, Image

_MAX_EXIF = 64 * 1024
"""Bytes of EXIF data that are read: the size of a JPEG segment. The orientation is near the beginning."""
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
_UPRIGHT: Mapping[int, Image.Transpose] = MappingProxyType(
    {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
)

_SWAP = (5, 6, 7, 8)
"""Orientations that swap width and height."""


def upright(picture: Image.Image, exif: bytes, xmp: bytes) -> Image.Image:
    """`picture` rotated or mirrored by its EXIF data, or else by its XMP data. Invalid data are ignored."""
    transpose = _UPRIGHT.get(_orientation(exif, xmp))
    return picture if transpose is None else picture.transpose(transpose)


def lies_on_its_side(exif: bytes, xmp: bytes) -> bool:
    """Whether `upright` swaps width and height."""
    return _orientation(exif, xmp) in _SWAP


def _orientation(exif: bytes, xmp: bytes) -> Any:
    """The orientation, 1 to 8. Other values mean no rotation."""
    tags = Image.Exif()
    with suppress(Exception):
        tags.load(exif[:_MAX_EXIF])
        if ExifTags.Base.Orientation in tags:
            return tags[ExifTags.Base.Orientation]
    found = _XMP.search(xmp)
    return int(found[1]) if found else 1
