"""Image files made for the tests: real ones by Pillow, and headers that lie."""

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from PIL import Image
from pillow_heif import register_heif_opener

from blip_serve.domain import ImageBytes

register_heif_opener()  # so that Pillow writes HEIC; the decoder under test does without


def file_bytes(image: Image.Image, kind: str, **options: Any) -> bytes:
    """`image` saved as `kind`."""
    buffer = io.BytesIO()
    image.save(buffer, "HEIF" if kind == "HEIC" else kind, **options)
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
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, data) for name, data in parts)


def webp(width: int, height: int) -> bytes:
    """A WebP whose extended header declares `width` x `height`."""
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + canvas
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def avif_of_items(count: int) -> bytes:
    """A valid AVIF that lists `count` more items. Its metadata are at the end of the file."""
    data = file_bytes(gradient(), "AVIF")
    meta, pixels = data.index(b"meta") - 4, data.index(b"mdat") - 4
    items = bytearray(data[meta:pixels])
    offset = items.index(b"iloc") + 18
    items[offset : offset + 4] = (meta + 8).to_bytes(4)
    items += _box(b"iref", b"\1\0\0\0", *(_box(b"cdsc", struct.pack(">IHI", 9 + n, 1, 1)) for n in range(count)))
    items[:4] = len(items).to_bytes(4)
    return data[:meta] + data[pixels:] + items


def tiff(tags: Mapping[int, Sequence[int]], pixels: bytes, order: str = "<") -> bytes:
    """A TIFF: 8 bytes, `pixels`, and a directory of `tags` with 32-bit values."""
    start = 8 + len(pixels)
    entries, beyond = [struct.pack(order + "H", len(tags))], b""
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}I", *values)
        place = struct.pack(order + "I", start + 2 + 12 * len(tags) + 4 + len(beyond))
        entries.append(struct.pack(order + "HHI", tag, 4, len(values)) + (packed if len(values) == 1 else place))
        beyond += packed if len(values) > 1 else b""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    return b"".join((head, pixels, *entries, bytes(4), beyond))


def bmp_of_runs(width: int, height: int, rows: bytes, *, nibbles: bool = False) -> bytes:
    """A bitmap whose rows are run-length encoded, with a palette that is not grey."""
    bits = 4 if nibbles else 8
    colours = b"".join(bytes((255 - n, n, n // 2, 0)) for n in range(1 << bits))
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 2 if nibbles else 1, 0, 0, 0, 1 << bits, 0)
    return b"BM" + struct.pack("<III", 0, 0, 14 + len(head) + len(colours)) + head + colours + rows


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _box(name: bytes, *content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + sum(map(len, content)), name) + b"".join(content)
