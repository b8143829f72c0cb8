"""The boxes of a HEIC: those of an AVIF, and a bound on what its tiles are together. Decodes no pixels.

ISO/IEC 23008-12: an image item has its size in a property, `ispe`, and a grid is made of items that it refers to.
"""

import struct
from collections import Counter
from collections.abc import Iterator

from blip_serve.images.structure import avif
from blip_serve.images.structure.avif import Box
from blip_serve.images.structure.essence import Essence

_MOST_WORK = 4
"""Pixels of all items that others are made of, as a multiple of the largest picture's. A phone's photo has two or
three: its tiles, and those of the map that brightens it."""


def essence(data: bytes) -> Essence:
    """The file as of an AVIF; EXIF data do not turn a HEIC either.

    Raises `ValueError` as there, and where items are used so often or are so large that decoding takes long.
    """
    sound = avif.essence(data)
    boxes = list(avif.boxes(data))
    sizes = _sizes(data, boxes)
    used = Counter(item for box in _named(boxes, b"iref") for item in _parts(data, box))
    if max(used.values(), default=1) > 1:
        raise ValueError("an item is used twice")
    width, height = _largest(data, boxes)
    if sum(sizes.get(item, 0) for item in used) > _MOST_WORK * width * height:
        raise ValueError("too many tiles")
    return sound


def size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels of the largest item. Raises `ValueError` where none has a size."""
    return _largest(data, list(avif.boxes(data)))


def _largest(data: bytes, boxes: list[Box]) -> tuple[int, int]:
    return max((_extent(data, box) for box in _named(boxes, b"ispe")), key=lambda extent: extent[0] * extent[1])


def _named(boxes: list[Box], name: bytes) -> list[Box]:
    return [box for box in boxes if box.name == name]


def _extent(data: bytes, box: Box) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, box.start + 4)
    return width, height


def _sizes(data: bytes, boxes: list[Box]) -> dict[int, int]:
    """The pixels of each item, by the properties that it is associated with."""
    containers = _named(boxes, b"ipco")
    if len(containers) != 1:
        raise ValueError("no properties, or several lists of them")
    properties = [None, *avif.children(data, containers[0])]
    sizes: dict[int, int] = {}
    for item, index in (pair for box in _named(boxes, b"ipma") for pair in _associations(data, box)):
        found = properties[index]
        if found is not None and found.name == b"ispe":
            width, height = _extent(data, found)
            sizes[item] = max(sizes.get(item, 0), width * height)
    return sizes


def _associations(data: bytes, box: Box) -> Iterator[tuple[int, int]]:
    """Each item, and the number of a property that it has; they are counted from 1."""
    version, wide = data[box.start], data[box.start + 3] & 1
    item_bytes, index_bytes = (4 if version else 2), 1 + wide
    (count,) = struct.unpack_from(">I", data, box.start + 4)
    position = box.start + 8
    for _ in range(min(count, box.end - position)):
        item = int.from_bytes(data[position : position + item_bytes])
        position += item_bytes
        many, position = data[position], position + 1
        for _ in range(many):
            index = int.from_bytes(data[position : position + index_bytes])
            yield item, index & (0x7FFF if wide else 0x7F)
            position += index_bytes


def _parts(data: bytes, references: Box) -> Iterator[int]:
    """The items that others are made of, as often as they are named."""
    size = 4 if data[references.start] else 2
    for box in avif.children(data, Box(references.name, references.start + 4, references.end)):
        if box.name == b"dimg":
            at = box.start + size + 2
            (count,) = struct.unpack_from(">H", data, at - 2)
            for place in range(at, min(at + size * count, box.end), size):
                yield int.from_bytes(data[place : place + size])
