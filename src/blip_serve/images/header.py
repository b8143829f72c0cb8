"""Reads an image file's format and size from its header. Decodes nothing.

The size is checked before a decoder opens the file, because some decoders allocate the raster at once.
"""

import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType

from blip_serve.domain import ImageFormat, Size
from blip_serve.images.structure import heic, tiff
from blip_serve.images.structure.jpeg import SOF, segments

HEAD_BYTES = 64
"""Number of bytes that `sniff` looks at."""
_HEVC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")


def sniff(data: bytes) -> ImageFormat | None:
    """The format by the file's signature. `None` if the service does not know it."""
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
    """AVIF or HEIC by the brands in the file: both use one container. A file with the brands of both is an AVIF."""
    if b"avif" in brands or b"avis" in brands:
        return "AVIF"
    return "HEIC" if any(brand in brands for brand in _HEVC) else None


def declared_size(data: bytes, kind: ImageFormat) -> Size | None:
    """The size in the header. `None` if the header is cut off, or if only a decoder can tell, as for AVIF.

    Check the opened image too: the first frame of a GIF may be larger, and for a HEIC this is the size of its largest
    item.
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
