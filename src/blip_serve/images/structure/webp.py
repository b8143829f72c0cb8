"""The chunks of a WebP: so few that its decoder, which keeps a note of each, may see them all. Decodes no pixels.

Without loss (VP8L, and the transparency of others, ALPH) each block of 4 x 4 pixels may have Huffman codes of its own.

https://developers.google.com/speed/webp/docs/riff_container
"""

import struct

from blip_serve.images.header import declared_size
from blip_serve.images.structure.essence import MAX_STEPS, Essence

_CHUNK = struct.Struct("<4sI")
_MAX_GROUPS = 65_536
"""Sets of codes; an image of them has 16 bits for each."""
_GROUP = 21_000
"""Bytes that libwebp takes for a set: 5,004 entries of 4, and some hundred beside."""
_GROUP_IN_FILE = 2
"""Bytes of the file that the codes of a set take at least: five, each of four bits or more."""


def essence(data: bytes) -> Essence:
    """The file as it is. Raises `ValueError` for too many chunks."""
    position = 12
    for _ in range(MAX_STEPS):
        if position + _CHUNK.size > len(data):
            return Essence(data, tables=_tables(data))
        _, length = _CHUNK.unpack_from(data, position)
        position += _CHUNK.size + length + length % 2
    raise ValueError("too many chunks")


def _tables(data: bytes) -> int:
    """Bytes of the codes' tables, at most."""
    size = declared_size(data, "WEBP")
    if size is None or not (b"VP8L" in data or b"ALPH" in data):
        return 0
    return _GROUP * min(_MAX_GROUPS, -(-size[0] // 4) * -(-size[1] // 4), len(data) // _GROUP_IN_FILE)
