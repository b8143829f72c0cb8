"""What an image file says of itself in its first bytes: the format and the size. Decodes nothing.

Read before a decoder sees the file, because some decoders make room for the raster as soon as they open one.
"""

import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

from blip_serve.images.structure.jpeg import SOF, segments

ImageFormat = Literal["PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF"]
Size = tuple[int, int]
"""Width and height in pixels."""


def sniff(data: bytes) -> ImageFormat | None:
    """The format by its signature; `None` if it is none of ours."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"BM"):
        return "BMP"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    # The brands that follow tell AVIF from its relative HEIC.
    if data[4:8] == b"ftyp" and any(brand in data[8:64] for brand in (b"avif", b"avis")):
        return "AVIF"
    return None


def declared_size(data: bytes, kind: ImageFormat) -> Size | None:
    """The size in the header; `None` where it is cut off or, as in AVIF, only the decoder can tell.

    A GIF's first frame may reach beyond it: ask the opened image too.
    """
    try:
        return _SIZES[kind](data) if kind in _SIZES else None
    except (struct.error, ValueError):
        return None


def _png(data: bytes) -> Size:
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _bmp(data: bytes) -> Size:
    (header,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", data, 18)
    return abs(width), abs(height)  # a negative height: rows from the top


def _webp(data: bytes) -> Size | None:
    """https://developers.google.com/speed/webp/docs/riff_container"""
    chunk = data[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _gif(data: bytes) -> Size:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _jpeg(data: bytes) -> Size | None:
    for marker, start, _ in segments(data):
        if marker in SOF:
            height, width = struct.unpack_from(">HH", data, start + 1)
            return width, height
    return None


_SIZES: Mapping[ImageFormat, Callable[[bytes], Size | None]] = MappingProxyType(
    {"PNG": _png, "JPEG": _jpeg, "WEBP": _webp, "GIF": _gif, "BMP": _bmp}
)
