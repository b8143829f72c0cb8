"""Image files that cost a decoder far more than their bytes suggest: floods of empty parts, and large rasters."""

import io
import struct
import zlib
from collections.abc import Callable, Mapping

from PIL import Image

TINY = zlib.compress(b"\0" * 310)
"""The pixels of a PNG of 10 x 10, 8 bits a channel."""


def chunk(name: bytes, data: bytes = b"") -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(chunks: bytes, pixels: bytes = TINY, side: int = 10, depth: int = 8, kind: int = 2) -> bytes:
    """A square PNG with `chunks` before its pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, depth, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunks + chunk(b"IDAT", pixels) + chunk(b"IEND")


def gif(blocks: bytes, pixels: bytes = b"\x02\x44\x01") -> bytes:
    """A GIF of 2 x 2 with `blocks` before its frame."""
    screen = b"GIF89a" + struct.pack("<HHBBB", 2, 2, 0x80, 0, 0) + bytes(6)
    return screen + blocks + b"," + struct.pack("<HHHHB", 0, 0, 2, 2, 0) + b"\x02" + pixels + b"\0;"


def _jpeg_of_fill_bytes() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(out, "JPEG")
    data = out.getvalue()
    return data[:2] + b"\xff" * 18_000_000 + data[2:]


FLOODS: Mapping[str, Callable[[], bytes]] = {
    "PNG, 1.7 million empty chunks": lambda: png(chunk(b"abCd") * 1_700_000),
    "PNG, 1.7 million empty IDAT": lambda: png(chunk(b"IDAT") * 1_700_000),
    "PNG, 700,000 texts": lambda: png(b"".join(chunk(b"tEXt", b"%d\0" % n) for n in range(700_000))),
    "PNG, 1.6 million chunks with underscores": lambda: png(chunk(b"tEXt", b"a\0b") + chunk(b"_a__") * 1_600_000),
    "GIF, 20 MB without a block": lambda: gif(b"")[:19] + b"abcd" + bytes(20_000_000),
    "GIF, 6.6 million comments": lambda: gif(b"!\xfe\0" * 6_600_000),
    "GIF, 9 million blocks of a byte": lambda: gif(b"", b"\x01\x00" * 9_000_000),
    "JPEG, 18 MB of fill bytes": _jpeg_of_fill_bytes,
    "PNG, 40 megapixels of 16 bits": lambda: png(
        b"", zlib.compress(bytes((1 + 8 * 6300) * 6300), 9), side=6300, depth=16, kind=6
    ),
}
"""Each of at most 20 MB, by what it is."""
