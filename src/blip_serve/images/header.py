"""What an image file says of itself in its first bytes: the format and the size. Decodes nothing.

Read before a decoder sees the file, because some decoders make room for the raster as soon as they open one.
"""

import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType

from blip_serve.domain import ImageFormat
from blip_serve.images.structure import heic, tiff
from blip_serve.images.structure.jpeg import SOF, segments

Size = tuple[int, int]
"""Width and height in pixels."""

HEAD_BYTES = 64
"""What `sniff` looks at."""
_HEVC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")


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
    if data.startswith((b"II*\0", b"MM\0*")):
        return "TIFF"
    return _by_brand(data[8:HEAD_BYTES]) if data[4:8] == b"ftyp" else None


def _by_brand(brands: bytes) -> ImageFormat | None:
    """AVIF and HEIC are the same container; a file of both kinds is an AVIF."""
    if b"avif" in brands or b"avis" in brands:
        return "AVIF"
    return "HEIC" if any(brand in brands for brand in _HEVC) else None


def declared_size(data: bytes, kind: ImageFormat) -> Size | None:
    """The size in the header; `None` where it is cut off or, as in AVIF, only the decoder can tell.

    A GIF's first frame may reach beyond it, and a HEIC's is that of its largest part: ask the opened image too.
    """
    try:
        return _SIZES[kind](data) if kind in _SIZES else None
    except (struct.error, ValueError, KeyError):
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
    {"PNG": _png, "JPEG": _jpeg, "WEBP": _webp, "GIF": _gif, "BMP": _bmp, "TIFF": tiff.size, "HEIC": heic.size}
)
