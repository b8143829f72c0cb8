"""Image files made for the tests: real ones by Pillow, and headers that lie."""

import io
import struct
import zlib
from hashlib import sha256
from typing import Any

from PIL import Image

from blip_serve.domain import ImageBytes


def file_bytes(image: Image.Image, kind: str, **options: Any) -> bytes:
    """`image` saved as `kind`."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def image_bytes(data: bytes, param: str = "images[1]") -> ImageBytes:
    """`data` as the loader would hand it on."""
    return ImageBytes(data, sha256(data).hexdigest(), param)


def gradient(mode: str = "RGB", size: tuple[int, int] = (31, 17)) -> Image.Image:
    """A picture in which no two corners are alike."""
    red = Image.linear_gradient("L").resize(size)
    green = red.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    blue = Image.radial_gradient("L").resize(size)
    rgb = Image.merge("RGB", (red, green, blue))
    rgb.putpixel((0, 0), (255, 0, 0))
    rgb.putpixel((size[0] - 1, 0), (0, 255, 0))
    return rgb.convert(mode)


def png(width: int, height: int, *chunks: tuple[bytes, bytes], depth: int = 8, colour: int = 2) -> bytes:
    """A PNG that declares `width` x `height`, with `chunks` before one row's worth of data."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(b"\0\1\2\3")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in parts)


def webp(width: int, height: int) -> bytes:
    """A WebP whose extended header declares `width` x `height`."""
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + canvas
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
