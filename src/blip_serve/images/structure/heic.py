"""Checks the boxes of a HEIC like those of an AVIF, and limits the size of its tiles. Decodes no pixels.

ISO/IEC 23008-12: the property `ispe` holds the size of an image item. A grid refers to the items that it is made of.
"""

import struct
from collections import Counter
from collections.abc import Iterator

from blip_serve.images.structure import avif
from blip_serve.images.structure.avif import Box
from blip_serve.images.structure.essence import Essence

_MAX_FACTOR = 4
"""Limit of the pixels of all items that other items are made of, as a multiple of the largest item's pixels.

A phone's photo has a factor of two or three: its own tiles, and those of its gain map.
"""


def essence(data: bytes) -> Essence:
    """The file without its EXIF data, as for an AVIF. They do not set the orientation of a HEIC either.

    Raises `ValueError` as for an AVIF, and if an item is used twice or the items are so large that decoding takes long.
    """
    stripped = avif.essence(data)
    boxes = list(avif.boxes(data))
    sizes = _sizes(data, boxes)
    used = Counter(item for box in _named(boxes, b"iref") for item in _parts(data, box))
    if max(used.values(), default=1) > 1:
        raise ValueError("an item is used twice")
    width, height = _largest(data, boxes)
    if sum(sizes.get(item, 0) for item in used) > _MAX_FACTOR * width * height:
        raise ValueError("too many tiles")
    return stripped


def size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels of the largest item. Raises `ValueError` if no item has a size."""
    return _largest(data, list(avif.boxes(data)))


def _largest(data: bytes, boxes: list[Box]) -> tuple[int, int]:
    return max((_extent(data, box) for box in _named(boxes, b"ispe")), key=lambda extent: extent[0] * extent[1])


def _named(boxes: list[Box], name: bytes) -> list[Box]:
    return [box for box in boxes if box.name == name]


def _extent(data: bytes, box: Box) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, box.start + 4)
    return width, height


def _sizes(data: bytes, boxes: list[Box]) -> dict[int, int]:
    """The number of pixels of each item, from its properties."""
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
    """Pairs of an item and the number of one of its properties. Properties count from 1."""
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
    """The items that other items are made of. An item that is used twice comes twice."""
    size = 4 if data[references.start] else 2
    for box in avif.children(data, Box(references.name, references.start + 4, references.end)):
        if box.name == b"dimg":
            at = box.start + size + 2
            (count,) = struct.unpack_from(">H", data, at - 2)
            for position in range(at, min(at + size * count, box.end), size):
                yield int.from_bytes(data[position : position + size])
