"""Finds the blocks of a GIF that make its first frame. Decodes no pixels.

https://www.w3.org/Graphics/GIF/spec-gif89a.txt
"""

import re

from blip_serve.images.structure.essence import MAX_STEPS, Essence

_BLOCK = re.compile(rb"[!,;]")  # an extension, a frame, the end
_CONTROL = 0xF9
_SCREEN = 13
"""Bytes before the global palette."""


def essence(data: bytes) -> Essence:
    """The header, the transparent colour, and the file from its first frame on.

    Raises `ValueError` if there are no blocks, or too many before the first frame; `IndexError` if one is cut off.
    """
    start = position = _SCREEN + (6 << (data[10] & 7) if data[10] & 0x80 else 0)
    control, left = b"", MAX_STEPS
    while (found := _BLOCK.search(data, position)) and found[0] == b"!":
        label = found.end()
        if data[label] == _CONTROL and data[label + 1] >= 4 and data[label + 2] & 1:
            control = b"!\xf9\4\1\0\0%c\0" % data[label + 5]  # without the disposal method: only one frame is read
        position, left = _end(data, label + 1, left - 1)
    if found is None:
        raise ValueError("no block")
    if found.start() == start:
        return Essence(data)
    view = memoryview(data)
    return Essence(b"".join((view[:start], control, view[found.start() :])))


def _end(data: bytes, position: int, left: int) -> tuple[int, int]:
    """The offset after the sub-blocks at `position`, and how many of the `left` steps remain."""
    while size := data[position]:
        position, left = position + 1 + size, left - 1
        if left < 0:
            break
    if left < 0:
        raise ValueError("too many blocks")
    return position + 1, left
