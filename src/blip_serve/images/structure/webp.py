"""The chunks of a WebP: so few that its decoder, which keeps a note of each, may see them all. Decodes no pixels.

https://developers.google.com/speed/webp/docs/riff_container
"""

import struct

from blip_serve.images.structure.essence import MAX_STEPS, Essence

_CHUNK = struct.Struct("<4sI")


def essence(data: bytes) -> Essence:
    """The file as it is. Raises `ValueError` for too many chunks."""
    position = 12
    for _ in range(MAX_STEPS):
        if position + _CHUNK.size > len(data):
            return Essence(data)
        _, length = _CHUNK.unpack_from(data, position)
        position += _CHUNK.size + length + length % 2
    raise ValueError("too many chunks")
