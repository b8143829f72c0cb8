"""A JPEG that stops before its end: whether its last pixels are there. Knows no other format."""

import io
import re
import zlib
from hashlib import shake_128

from PIL.JpegImagePlugin import JpegImageFile

_BITS = tuple(
    bytes((first << 6 | 27,)) + shake_128(bytes((first,))).digest(length).replace(b"\xff", b"\0")
    for first, length in enumerate((6, 6, 512, 512))
)
"""What may follow the data: noise. Each begins with two bits of its own, so that of any code cut off it makes another.

Behind the short ones the decoder fills up with grey, which the long ones would be noise in.
"""
_EOI = b"\xff\xd9"
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_UNFILLED = bytes(64)
_STRIP = 64
"""Rows that are compared at once."""


def with_end(data: bytes) -> bytes:
    """`data` with the marker that ends a JPEG. Raises `ValueError` where it does not hold all of the last scan.

    The decoder makes up for missing bits in silence. So it is asked for the picture with other bits in their place each
    time, in this piece of the scan and in the next: it is the same only where none is missing. Many zeros at the end
    are of a file that was never filled.
    """
    data = data.rstrip(b"\0\xff") if data.endswith(_UNFILLED) else data.rstrip(b"\xff")
    restart = _next_restart(data)
    if len({_checksum(data + bits + restart + bits + _EOI) for bits in _BITS}) > 1:
        raise ValueError("pixels are missing")
    return data + _BITS[0] + _EOI


def _next_restart(data: bytes) -> bytes:
    """The marker that would begin the next piece of the scan: they are counted from 0 to 7 and again."""
    last = 7
    for found in _RESTART.finditer(data, data.rindex(b"\xff\xda")):
        last = found[1][0] & 7
    return bytes((0xFF, 0xD0 + (last + 1) % 8))


def _checksum(data: bytes) -> int:
    picture = JpegImageFile(io.BytesIO(data))
    picture.load()
    width, height = picture.size
    check = 0
    for top in range(0, height, _STRIP):
        check = zlib.crc32(picture.crop((0, top, width, min(height, top + _STRIP))).tobytes(), check)
    return check
