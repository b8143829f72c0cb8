"""Counts the chunks of a WebP, because its decoder keeps a record of each. Decodes no pixels.

In lossless data (VP8L, and ALPH for transparency) each block of 4 x 4 pixels may have its own set of Huffman codes.

https://developers.google.com/speed/webp/docs/riff_container
"""

import struct

from blip_serve.images.header import declared_size
from blip_serve.images.structure.essence import MAX_STEPS, Essence

_CHUNK = struct.Struct("<4sI")
_MAX_GROUPS = 65_536
"""Limit of sets of codes: a set has an index of 16 bits."""
_GROUP = 21_000
"""Bytes of memory that libwebp needs per set: 5,004 entries of 4 bytes, and about 1,000 bytes more."""
_GROUP_IN_FILE = 2
"""Least bytes of file per set: five codes of at least four bits each."""


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
    """An upper bound of the memory for the tables of codes, in bytes."""
    size = declared_size(data, "WEBP")
    if size is None or not (b"VP8L" in data or b"ALPH" in data):
        return 0
    return _GROUP * min(_MAX_GROUPS, -(-size[0] // 4) * -(-size[1] // 4), len(data) // _GROUP_IN_FILE)
