"""Expands the rows of a run-length encoded bitmap. Leaves all other bitmaps as they are.

Pillow expands runs pixel by pixel: a file of three kilobytes that declares 40 megapixels would take seconds.
https://learn.microsoft.com/windows/win32/gdi/bitmap-compression
"""

import struct

from blip_serve.images.structure.essence import Essence

MAX_RUNS = 500_000
"""Limit of runs: 2 megapixels with a new run at every fourth pixel. So many take a quarter of a second."""
_FILE = struct.Struct("<2sIII")  # signature, bytes, reserved, offset of the rows
_INFO = struct.Struct("<IiiHHIIiiII")  # bytes, width, height, planes, bits, compression, size, resolution, colours
_INFO_SIZES = frozenset({40, 52, 56, 64, 108, 124})
_RLE8, _RLE4 = 1, 2
_GREYS = b"".join(bytes((grey, grey, grey, 0)) for grey in range(256))
_DIGITS = bytes.maketrans(b"0123456789abcdef", bytes(range(16)))


def essence(data: bytes) -> Essence:
    """The file as it is, or with one byte per pixel if it has runs. Check the declared size before this call.

    Raises `ValueError` if there are too many runs, or too few for the picture.
    """
    if len(data) < _FILE.size + _INFO.size:
        return Essence(data)
    size, width, height, _, bits, compression, _, _, _, colours, _ = _INFO.unpack_from(data, _FILE.size)
    if size not in _INFO_SIZES or compression not in (_RLE8, _RLE4):
        return Essence(data)
    if bits > 8:
        raise ValueError("runs of no palette")
    palette, first = _FILE.size + size, _FILE.unpack_from(data)[3]
    rows = palette + 4 * (colours or 1 << bits)
    colour = data[palette : min(rows, palette + len(_GREYS))]
    indices = _indices(data, rows if first in (0, palette) else first, width, abs(height), compression == _RLE4)
    return Essence(_bitmap(width, height, colour + _GREYS[len(colour) :], indices))


def _bitmap(width: int, height: int, palette: bytes, indices: bytearray) -> bytes:
    """A bitmap file with the rows of `indices`, each padded to a multiple of 4 bytes."""
    first = _FILE.size + _INFO.size + len(palette)
    head = _FILE.pack(b"BM", 0, 0, first) + _INFO.pack(_INFO.size, width, height, 1, 8, 0, 0, 0, 0, 256, 0)
    if padding := bytes(-width % 4):
        rows = (indices[at : at + width] + padding for at in range(0, len(indices), width))
        return b"".join((head, palette, *rows))
    return b"".join((head, palette, indices))


def _indices(data: bytes, position: int, width: int, height: int, nibbles: bool) -> bytearray:
    """The palette index of each pixel. Reads the runs at `position` as Pillow does."""
    out, x, total = bytearray(), 0, width * height
    for _ in range(MAX_RUNS):
        if len(out) >= total:
            return out
        count, value = data[position : position + 2]
        position += 2
        if count:  # `count` pixels of one colour, or of two alternating colours
            count = max(0, min(count, width - x))
            out += (bytes((value >> 4, value & 15)) * 128)[:count] if nibbles else bytes((value,)) * count
            x += count
        elif value == 0:  # the end of a row
            out += bytes(-len(out) % width)
            x = 0
        elif value == 1:  # the end of the picture
            break
        elif value == 2:  # a jump to the right and up
            right, up = data[position : position + 2]
            position += 2
            out += bytes(min(total - len(out), right + up * width))
            x = len(out) % width
        else:  # `value` literal pixels, padded to an even offset
            count = min(total - len(out), value)
            end = position + (count + 1) // 2 if nibbles else position + count
            out += _digits(data[position:end])[:count] if nibbles else data[position:end]
            x += value
            position = end + end % 2
    raise ValueError("too many runs, or too few")


def _digits(data: bytes) -> bytes:
    return data.hex().encode().translate(_DIGITS)
