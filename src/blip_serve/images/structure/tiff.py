"""Copies the first picture of a TIFF, its tags and its strips or tiles, to a new file.

A piece is a strip or a tile. The photometric interpretation is how samples become colours.

Decodes no pixels. https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf and Adobe's Technical Note 2 (JPEG).
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from blip_serve.images.structure import jpeg
from blip_serve.images.structure.essence import Essence

_MAX_TAGS = 1_000
"""Limit of tags in a directory. Cameras write about 50."""
_MAX_PIECES = 65_536
"""Limit of strips or tiles: one strip for each row of the largest picture, and one more."""
_MAX_COSTLY_PIECES = 16_384
"""Limit of tiles and of JPEG pieces: the decoder restarts for each. 40 megapixels have 600 tiles of 256 x 256."""
_MAX_PADDING = 4 * 1024 * 1024
"""Pixels of tiles that may lie outside a small picture."""
_MAX_JPEG_SCANS = 4

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS, _STRIP_COUNTS, _PLANAR = 273, 274, 277, 278, 279, 284
_T4_OPTIONS, _T6_OPTIONS, _PREDICTOR, _COLOUR_MAP = 292, 293, 317, 320
_TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS, _TILE_COUNTS = 322, 323, 324, 325
_EXTRA_SAMPLES, _SAMPLE_FORMAT, _JPEG_TABLES, _SUBSAMPLING = 338, 339, 347, 530

_MAX_SAMPLES = 6
_MOST: Mapping[int, int] = MappingProxyType(
    dict.fromkeys((_STRIP_OFFSETS, _STRIP_COUNTS, _TILE_OFFSETS, _TILE_COUNTS), _MAX_PIECES)
    | dict.fromkeys((_BITS, _EXTRA_SAMPLES, _SAMPLE_FORMAT), _MAX_SAMPLES)
    | dict.fromkeys((_WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _ORIENTATION, _SAMPLES, _ROWS), 1)
    | dict.fromkeys((_PLANAR, _T4_OPTIONS, _T6_OPTIONS, _PREDICTOR, _TILE_WIDTH, _TILE_LENGTH), 1)
    | {_COLOUR_MAP: 3 * 256, _JPEG_TABLES: 64 * 1024, _SUBSAMPLING: 2}
)
"""The tags that are read, and the limit of values of each. Other directories are ignored."""
_KEPT = (_COMPRESSION, _FILL_ORDER, _T4_OPTIONS, _T6_OPTIONS, _PREDICTOR, _COLOUR_MAP, _EXTRA_SAMPLES, _JPEG_TABLES,
         _SUBSAMPLING)  # fmt: skip
_ORDERS: Mapping[bytes, str] = MappingProxyType({b"II*\0": "<", b"MM\0*": ">"})
_BYTE, _SHORT, _LONG, _UNDEFINED = 1, 3, 4, 7
_CODES: Mapping[int, str] = MappingProxyType({_BYTE: "B", _SHORT: "H", _LONG: "I", _UNDEFINED: "B"})

_PLAIN, _JPEG = 1, 7
_FAXES = frozenset({2, 3, 4})  # CCITT group 3 in one and in two dimensions, and group 4
_OTHERS = frozenset({_PLAIN, 5, 8, 32773, 32946})  # none, LZW, deflate, PackBits, deflate with its old number
_RGB = 2
_YCBCR = 6
_SAMPLE_BITS: Mapping[int, frozenset[int]] = MappingProxyType(
    {
        0: frozenset({1, 2, 4, 8}),  # grey, zero is white
        1: frozenset({1, 2, 4, 8, 16}),  # grey, zero is black
        _RGB: frozenset({8, 16}),
        3: frozenset({1, 2, 4, 8}),  # a palette
        5: frozenset({8, 16}),  # CMYK
        _YCBCR: frozenset({8}),
    }
)
"""The bits that a sample may have, by photometric interpretation."""

Tags = Mapping[int, Sequence[int]]
Part = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of the pieces. A piece has `columns` x `rows` pixels, a plane `across` x `down` pieces."""

    tiled: bool
    columns: int
    rows: int
    across: int
    down: int
    planes: int

    @property
    def pieces(self) -> int:
        return self.across * self.down * self.planes


def essence(data: bytes) -> Essence:
    """A file with only the first picture. Its orientation is in `exif`, or else the decoder would rotate the picture.

    Raises `ValueError`, `struct.error` or `KeyError` if tags or pieces are missing, too many, outside the file or
    overlapping. Also for samples other than grey, RGB, CMYK or palette integers of up to 16 bits.
    """
    order, tags = _read(data, _MOST)
    samples = _samples(tags)
    layout = _layout(tags, samples)
    parts = _parts(data, tags, layout)
    compression = _one(tags, _COMPRESSION, _PLAIN)
    if compression == _JPEG:
        _check_jpegs(parts, layout)
    if compression == _PLAIN:
        layout, parts = _trimmed(parts, layout, samples * _bits(tags) // layout.planes, _one(tags, _HEIGHT))
    picture: dict[int, Sequence[int]] = {tag: tags[tag] for tag in _KEPT if tag in tags} | {
        _WIDTH: [_one(tags, _WIDTH)],
        _HEIGHT: [_one(tags, _HEIGHT)],
        _BITS: [_bits(tags)] * samples,
        _PHOTOMETRIC: [_one(tags, _PHOTOMETRIC, 0)],
        _SAMPLES: [samples],
        _PLANAR: [2 if layout.planes > 1 else 1],
    }
    turned = _file(order, {_ORIENTATION: tags[_ORIENTATION]}) if _ORIENTATION in tags else b""
    return Essence(_file(order, {**picture, **_piece_tags(parts, layout)}, parts), turned)


def size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, before any rotation. Raises as `essence`."""
    _, tags = _read(data, (_WIDTH, _HEIGHT))
    return _one(tags, _WIDTH), _one(tags, _HEIGHT)


def _read(data: bytes, wanted: Mapping[int, int] | Sequence[int]) -> tuple[str, Tags]:
    """The byte order, and the values of the `wanted` tags in the first directory. A repeated tag is ignored."""
    order = _ORDERS[data[:4]]
    (position,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, position)
    if count > _MAX_TAGS:
        raise ValueError("too many tags")
    found: dict[int, Sequence[int]] = {}
    for entry in range(position + 2, position + 2 + 12 * count, 12):
        tag, kind, many = struct.unpack_from(order + "HHI", data, entry)
        if tag in wanted and tag not in found and many:
            found[tag] = _values(data, order, entry + 8, (kind, many, _MOST[tag]))
    return order, found


def _values(data: bytes, order: str, offset: int, shape: tuple[int, int, int]) -> Sequence[int]:
    """The values of a tag: at `offset` if they fit into 4 bytes, else where these 4 bytes point.

    `shape`: type of the values, their number, and the largest number allowed.
    """
    kind, many, most = shape
    if many > most:
        raise ValueError("too many values")
    form = struct.Struct(f"{order}{many}{_CODES[kind]}")
    if form.size > 4:
        (offset,) = struct.unpack_from(order + "I", data, offset)
    return form.unpack_from(data, offset)


def _one(tags: Tags, tag: int, default: int | None = None) -> int:
    return tags[tag][0] if tag in tags or default is None else default


def _bits(tags: Tags) -> int:
    return _one(tags, _BITS, 1)


def _samples(tags: Tags) -> int:
    """The number of samples per pixel. Raises `ValueError` for samples that the decoder does not handle correctly."""
    bits, samples = tags.get(_BITS, (1,)), _one(tags, _SAMPLES, 1)
    photometric, compression = _one(tags, _PHOTOMETRIC, 0), _one(tags, _COMPRESSION, _PLAIN)
    supported = (
        0 < samples <= _MAX_SAMPLES
        and len(set(bits)) == 1
        and set(tags.get(_SAMPLE_FORMAT, (1,))) == {1}
        and bits[0] in _SAMPLE_BITS[photometric]
        and (compression in _OTHERS or compression == _JPEG or (compression in _FAXES and (samples, bits[0]) == (1, 1)))
        and (compression == _JPEG or photometric != _YCBCR)
    )
    if not supported:
        raise ValueError("no such samples are read")
    return samples


def _layout(tags: Tags, samples: int) -> Layout:
    width, height, tiled = _one(tags, _WIDTH), _one(tags, _HEIGHT), _TILE_WIDTH in tags
    columns = _one(tags, _TILE_WIDTH) if tiled else width
    rows = _one(tags, _TILE_LENGTH) if tiled else min(_one(tags, _ROWS, height), height)
    if min(columns, rows) < 1:
        raise ValueError("pieces without pixels")
    planes = samples if _one(tags, _PLANAR, 1) == 2 else 1
    if planes > 1 and (_bits(tags) != 8 or _one(tags, _PHOTOMETRIC, 0) == _YCBCR):
        raise ValueError("no such planes are read")
    layout = Layout(tiled, columns, rows, -(-width // columns), -(-height // rows), planes)
    if layout.pieces > (_MAX_COSTLY_PIECES if tiled or _one(tags, _COMPRESSION, _PLAIN) == _JPEG else _MAX_PIECES):
        raise ValueError("too many pieces")
    if layout.across * columns * layout.down * rows > 2 * width * height + _MAX_PADDING:
        raise ValueError("pieces too large for the picture")
    return layout


def _parts(data: bytes, tags: Tags, layout: Layout) -> list[Part]:
    """The bytes of each piece. Pieces must not overlap, or else a small file could take very long to decode."""
    offsets, counts = (
        tags[tag][: layout.pieces]
        for tag in ((_TILE_OFFSETS, _TILE_COUNTS) if layout.tiled else (_STRIP_OFFSETS, _STRIP_COUNTS))
    )
    if min(len(offsets), len(counts)) < layout.pieces:
        raise ValueError("pieces are missing")
    end = 0
    for offset, count in sorted(zip(offsets, counts, strict=True)):
        if offset < end or not count:
            raise ValueError("pieces lie one over the other, or are empty")
        end = offset + count
    if end > len(data):
        raise ValueError("pieces lie outside the file")
    view = memoryview(data)
    return [view[offset : offset + count] for offset, count in zip(offsets, counts, strict=True)]


def _check_jpegs(parts: Sequence[Part], layout: Layout) -> None:
    """Raises `ValueError` for a JPEG piece that is cut off: the decoder would fill it with grey without an error.

    Also for one that is larger than the layout says, is progressive, or has too many scans: the decoder would need more
    memory.
    """
    for part in parts:
        found = list(jpeg.segments(bytes(part)))
        frames = [segment for segment in found if segment.marker in jpeg.SOF]
        if not found or found[-1].marker != 0xD9:
            raise ValueError("a frame is cut off")
        if len(frames) != 1 or frames[0].marker not in (0xC0, 0xC1):
            raise ValueError("no frame, more than one, or a progressive one")
        rows, columns = struct.unpack_from(">HH", part, frames[0].start + 1)
        if columns > layout.columns or rows > layout.rows:
            raise ValueError("a frame larger than its piece")
        if sum(segment.marker == 0xDA for segment in found) > _MAX_JPEG_SCANS:
            raise ValueError("too many scans")


def _trimmed(parts: Sequence[Part], layout: Layout, bits: int, height: int) -> tuple[Layout, list[Part]]:
    """Uncompressed pieces with pixels of `bits` bits: tiles cut to their size, strips joined to one for each plane."""
    row = -(-layout.columns * bits // 8)
    rows = [layout.rows if layout.tiled else min(layout.rows, height - n * layout.rows) for n in range(layout.down)]
    lengths = [row * count for count in rows for _ in range(layout.across)] * layout.planes
    if any(len(part) < length for part, length in zip(parts, lengths, strict=True)):
        raise ValueError("pixels are missing")
    cut = [part[:length] for part, length in zip(parts, lengths, strict=True)]
    if layout.tiled:
        return layout, cut
    joined: list[Part] = [b"".join(cut[n : n + layout.down]) for n in range(0, len(cut), layout.down)]
    return Layout(False, layout.columns, height, 1, 1, layout.planes), joined


def _piece_tags(parts: Sequence[Part], layout: Layout) -> Tags:
    """The tags with the offsets and sizes of the pieces in the new file."""
    counts = [len(part) for part in parts]
    offsets = list(_offsets(counts))
    if layout.tiled:
        tags = {_TILE_WIDTH: [layout.columns], _TILE_LENGTH: [layout.rows]}
        return tags | {_TILE_OFFSETS: offsets, _TILE_COUNTS: counts}
    return {_ROWS: [layout.rows], _STRIP_OFFSETS: offsets, _STRIP_COUNTS: counts}


def _offsets(counts: Sequence[int]) -> Iterator[int]:
    position = 8
    for count in counts:
        yield position
        position += count


def _file(order: str, tags: Tags, parts: Sequence[Part] = ()) -> bytes:
    """A TIFF file with one directory, which follows `parts`."""
    length = sum(map(len, parts))
    start = 8 + length + length % 2
    beyond, entries = start + 2 + 12 * len(tags) + 4, [struct.pack(order + "H", len(tags))]
    values: list[bytes] = []
    for tag, numbers in sorted(tags.items()):
        kind = _UNDEFINED if tag == _JPEG_TABLES else _LONG if max(numbers) > 0xFFFF else _SHORT
        packed = struct.pack(f"{order}{len(numbers)}{_CODES[kind]}", *numbers)
        entries.append(struct.pack(order + "HHI", tag, kind, len(numbers)))
        if len(packed) > 4:
            entries.append(struct.pack(order + "I", beyond))
            values.append(packed + bytes(len(packed) % 2))
            beyond += len(values[-1])
        else:
            entries.append(packed.ljust(4, b"\0"))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    return b"".join((head, *parts, bytes(length % 2), *entries, bytes(4), *values))
