"""Finds the chunks of a PNG that make its picture. Decodes no pixels.

https://www.w3.org/TR/png-3/. For an animation the picture is the one in IDAT, which is the first frame for Pillow too.
An fcTL chunk after IDAT starts the next frame.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence

from blip_serve.images.structure.essence import MAX_METADATA, MAX_STEPS, Essence

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEAD = struct.Struct(">I4s")  # a chunk's length and name; its data follow, and 4 bytes of CRC
_HEADERS = frozenset({b"IHDR", b"PLTE", b"tRNS"})
_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_EXIF, _RAW_EXIF, _XMP = b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp"
_SUBJECTS = frozenset({_EXIF, _RAW_EXIF, _XMP})
"""Subjects of the chunks that hold the orientation."""
_FEW = 1_000
"""More IDAT chunks than this are joined. Each costs the decoder microseconds, and a file may have millions."""


def essence(data: bytes) -> Essence:
    """The file as it is, or with one IDAT chunk and without metadata.

    If another chunk occurs more than once, the last one counts. Raises `ValueError` for too many chunks.
    """
    view, count, ended = memoryview(data), 0, False
    headers: dict[bytes, memoryview] = {}
    pixels: list[memoryview] = []
    words: dict[bytes, memoryview] = {}
    for name, start, end in _chunks(data):
        count += 1
        if name == b"IEND":
            ended = True
        elif name == b"IDAT":
            pixels += [view[start:end]] if start < end else []
        elif name in _HEADERS and not pixels:
            headers[name] = view[start - 8 : end + 4]
        elif (subject := _subject(name, view[start:end])) in _SUBJECTS:
            words[subject] = view[start - 8 : end + 4]
    if ended and count == len(headers) + len(pixels) + 1 and len(pixels) <= _FEW:  # no other chunks but IEND
        return Essence(data)
    picture = b"".join((_SIGNATURE, *headers.values(), *_chunk(b"IDAT", pixels), *_chunk(b"IEND", [])))
    return Essence(picture, _exif(words), _value(words.get(_XMP)))


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk's name, and the offsets of its data. Stops at IEND, at the second frame, or at an invalid chunk."""
    position, last, framed = len(_SIGNATURE), len(data) - _HEAD.size, False
    for _ in range(MAX_STEPS):
        if position > last:
            return
        length, name = _HEAD.unpack_from(data, position)
        if not name.isalnum() or (framed and name == b"fcTL"):
            return
        yield name, position + 8, position + 8 + length
        if name == b"IEND":
            return
        framed = framed or name == b"IDAT"
        position += 12 + length
    raise ValueError("too many chunks")


def _subject(name: bytes, data: memoryview) -> bytes:
    """The subject of a chunk: the keyword of a text chunk (up to 79 bytes), else the chunk's name."""
    return bytes(data[:80]).partition(b"\0")[0] if name in _TEXTS else name


def _chunk(name: bytes, data: Sequence[memoryview]) -> Iterator[bytes | memoryview]:
    yield _HEAD.pack(sum(map(len, data)), name)
    yield from data
    check = zlib.crc32(name)
    for part in data:
        check = zlib.crc32(part, check)
    yield check.to_bytes(4)


def _exif(words: Mapping[bytes, memoryview]) -> bytes:
    """The EXIF data, from their own chunk or from ImageMagick's text: empty line, name, length, hexadecimal."""
    if _EXIF in words:
        return _value(words[_EXIF])
    lines = _value(words.get(_RAW_EXIF)).split(b"\n", 3)
    try:
        return bytes.fromhex(lines[3].decode("ascii"))
    except (IndexError, ValueError):
        return b""


def _value(chunk: memoryview | None) -> bytes:
    """The content of a chunk after its keyword, decompressed, at most `MAX_METADATA` bytes. Empty if it is damaged."""
    if chunk is None or zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:]):
        return b""
    name, data = bytes(chunk[4:8]), bytes(chunk[8:-4][:MAX_METADATA])
    if name == _EXIF:
        return data
    text = data.partition(b"\0")[2]
    if name == b"tEXt":
        return text
    if name == b"zTXt":
        return _inflated(text[1:])
    value = text[2:].split(b"\0", 2)[-1]  # after the language and the translated keyword
    return _inflated(value) if text[:1] != b"\0" else value


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, MAX_METADATA)
    except zlib.error:
        return b""
