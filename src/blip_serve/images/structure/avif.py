"""Walks over the boxes of an AVIF and limits its items and samples, because the decoder compares all items.

A HEIC has the same boxes. Decodes no pixels. https://aomediacodec.github.io/av1-avif/, ISO/IEC 14496-12 and 23008-12.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from blip_serve.images.structure.essence import Essence

_MAX_BOXES = 10_000
"""Limit of boxes in a file. A picture of 64 tiles has about 200."""
_MAX_LISTS = 32 * 1024
"""Limit in bytes of all lists of items. 64 tiles take 4,000. The decoder searches all items for each item."""
_MAX_SAMPLES = 250_000
"""Limit of frames in a sequence: an hour at 60 per second. The decoder lists them all."""

_HEAD = struct.Struct(">I4s")  # a box's size, including this head, and its name
_PARENTS = {b"meta": 4, b"iprp": 0, b"ipco": 0, b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0}
"""Boxes that contain boxes, and the number of bytes before the first inner box."""
_LISTS = frozenset({b"iinf", b"iloc", b"iref", b"ipma", b"grpl"})
_CHUNKS = frozenset({b"stco", b"co64"})


class Box(NamedTuple):
    """A box: its name, and the offsets at which its content starts and ends."""

    name: bytes
    start: int
    end: int


def essence(data: bytes) -> Essence:
    """The file without its EXIF data. They have no effect, as a box gives the orientation; Pillow would copy them.

    Raises `ValueError` for too many boxes, items or samples.
    """
    found = list(boxes(data))
    if sum(box.end - box.start for box in found if box.name in _LISTS) > _MAX_LISTS:
        raise ValueError("too many items")
    if _samples(data, found) > _MAX_SAMPLES:
        raise ValueError("too many samples")
    return Essence(
        _without_exif(data, [offset for box in found if box.name == b"iinf" for offset in _types(data, box)])
    )


def boxes(data: bytes) -> Iterator[Box]:
    """All boxes of the file, each before the boxes inside it. Raises `ValueError` for too many."""
    left = [(0, len(data))]  # offsets: the start of a box, the end of its parent
    for _ in range(_MAX_BOXES):
        while left and left[-1][0] + _HEAD.size > left[-1][1]:
            left.pop()
        if not left:
            return
        position, limit = left.pop()
        box = _box(data, position, limit)
        left.append((box.end, limit))
        yield box
        if box.name in _PARENTS:
            left.append((box.start + _PARENTS[box.name], box.end))
    raise ValueError("too many boxes")


def children(data: bytes, parent: Box) -> Iterator[Box]:
    """The boxes directly inside `parent`."""
    position = parent.start
    while position + _HEAD.size <= parent.end:
        box = _box(data, position, parent.end)
        yield box
        position = box.end


def _box(data: bytes, position: int, limit: int) -> Box:
    size, name = _HEAD.unpack_from(data, position)
    start = position + _HEAD.size
    if size == 1:  # the size follows the name, in 8 bytes
        start += 8
        size = int.from_bytes(data[start - 8 : start])
    return Box(name, start, min(limit, max(start, position + size)) if size else limit)


def _samples(data: bytes, boxes: Iterable[Box]) -> int:
    """An upper bound of the number of samples: all chunks, times the most samples that a chunk has."""
    chunks = sum(_count(data, box) for box in boxes if box.name in _CHUNKS)
    runs = [box for box in boxes if box.name == b"stsc"]
    if sum(_count(data, box) for box in runs) > _MAX_SAMPLES:
        raise ValueError("too many chunks")
    return chunks * max((most for box in runs for most in _samples_a_chunk(data, box)), default=0)


def _count(data: bytes, table: Box) -> int:
    """The number of entries that a table's header states."""
    return int.from_bytes(data[table.start + 4 : table.start + 8])


def _samples_a_chunk(data: bytes, table: Box) -> Iterator[int]:
    rows = data[table.start + 8 : min(table.end, table.start + 8 + 12 * _count(data, table))]
    return (samples for _, samples, _ in struct.iter_unpack(">III", rows[: len(rows) // 12 * 12]))


def _types(data: bytes, items: Box) -> Iterator[int]:
    """The offsets of the items' types."""
    start = items.start + (6 if data[items.start : items.start + 1] == b"\0" else 8)
    for item in children(data, Box(items.name, start, items.end)):
        yield item.start + (8 if data[item.start : item.start + 1] == b"\2" else 10)


def _without_exif(data: bytes, types: Sequence[int]) -> bytes:
    """`data` with the type of EXIF and XMP items changed to one that decoders skip. Unchanged if there is no EXIF."""
    if not any(data.startswith(b"Exif", offset) for offset in types):
        return data
    view, position = memoryview(data), 0
    parts: list[bytes | memoryview] = []
    for offset in types:
        if data.startswith((b"Exif", b"mime"), offset):
            parts += view[position:offset], b"skip"
            position = offset + 4
    return b"".join((*parts, view[position:]))
