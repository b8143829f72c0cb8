"""The segments of a JPEG that make its picture. Decodes no pixels.

https://www.w3.org/Graphics/JPEG/itu-t81.pdf, annex B
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from blip_serve.images.structure.essence import Essence

SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""The markers of a frame header, which gives the size."""
MAX_SCANS = 100
"""Encoders write about ten. Each costs up to 1 ms a megapixel, and 60 bytes of file."""
_MAX_SCANS_UNENDED = MAX_SCANS // 5
"""Where the end is missing the picture is decoded five times."""
_MAX_SEGMENTS = 10_000
"""Files of cameras have some dozens, with a long colour profile some hundreds. 10,000 are read in 10 ms."""
_MAX_HEADER = 64 * 1024
"""Bytes of tables and frame headers before the first scan: four tables of each kind, as many as count, take 3,000.

Also the bytes between two segments there. They belong to nothing; encoders that align write a few.
"""
_FILL = b"\xff" * 1024
"""Bytes before a marker, more than any encoder writes. A decoder goes over them again each time it is given data."""

_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")  # but those that stand alone, without a length
_SOS, _EOI, _COM, _APP0, _APP1, _APP14 = 0xDA, 0xD9, 0xFE, 0xE0, 0xE1, 0xEE
_APPLICATIONS = frozenset(range(0xE0, 0xF0))
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"


class Segment(NamedTuple):
    """A marker, and where its data begin, behind their length, and end."""

    marker: int
    start: int
    end: int


def segments(data: bytes) -> Iterator[Segment]:
    """Those that have data, up to the end of the image, which is the last of them if it is there.

    Raises `ValueError` for too many, and for too much that is none.
    """
    position, limit, fill = 2, 2 + _MAX_HEADER, 0
    for _ in range(_MAX_SEGMENTS):
        if (found := _MARKER.search(data, position, limit)) is None:
            break
        marker, start = found[1][0], found.end() + 2
        position = found.end() + max(2, int.from_bytes(data[found.end() : start]))
        yield Segment(marker, start, position)
        if marker == _EOI:
            return
        if (marker == _SOS or fill) and fill < position:
            fill = _fill(data, position)
        limit = fill or position + _MAX_HEADER
    if found or limit < len(data):
        raise ValueError("too many segments, or too much between them")


def _fill(data: bytes, position: int) -> int:
    """Where the next run of fill bytes stands that is longer than allowed, or the end."""
    found = data.find(_FILL, position)
    return len(data) if found < 0 else found


def essence(data: bytes) -> Essence:
    """The file without comments and without what applications wrote, but for what tells its colours.

    Raises `ValueError` for too many segments or scans, and where scans are missing.
    """
    found = list(segments(data))
    scans = [segment for segment in found if segment.marker == _SOS]
    ended = found[-1].marker == _EOI if found else False
    if not 0 < len(scans) <= (MAX_SCANS if ended else _MAX_SCANS_UNENDED):
        raise ValueError("no scans, or too many")
    header = found[: found.index(scans[0])]
    if not (ended or _complete(data, header, scans)):
        raise ValueError("scans are missing")
    exif, xmp = ([s for s in header if s.marker == _APP1 and data.startswith(of, s.start)] for of in (_EXIF, _XMP))
    return Essence(
        _picture(data, header, scans[0]),
        data[exif[0].start : exif[0].end] if exif else b"",  # an IFD that begins here and goes on in the next is cut
        data[xmp[-1].start : xmp[-1].end] if xmp else b"",
        ended,
    )


def _picture(data: bytes, header: Sequence[Segment], scan: Segment) -> bytes:
    """`data` with the segments it needs before its first scan and nothing between them."""
    kept = [segment for segment in header if _needed(data, segment)]
    size = sum(segment.end - segment.start + 4 for segment in kept)
    if size > _MAX_HEADER or sum(segment.marker in SOF for segment in kept) != 1:
        raise ValueError("too long a header, or not one frame")
    if size == scan.start - 6:
        return data
    view = memoryview(data)
    return b"".join((data[:2], *(view[s.start - 4 : s.end] for s in kept), view[scan.start - 4 :]))


def _needed(data: bytes, segment: Segment) -> bool:
    """Tables, frames, and the two notes that tell the colours, where they are as long as the decoder wants them."""
    marker, start, end = segment
    if marker == _APP0:
        return data.startswith(b"JFIF\0", start) and end - start >= 14
    if marker == _APP14:
        return data.startswith(b"Adobe", start) and end - start >= 12
    return marker != _COM and marker not in _APPLICATIONS


def _complete(data: bytes, header: Sequence[Segment], scans: Sequence[Segment]) -> bool:
    """Whether every coefficient of every component is sent to its last bit."""
    frame = next(segment.start for segment in header if segment.marker in SOF)
    components = data[frame + 6 : frame + 6 + 3 * data[frame + 5] : 3]
    missing = {(component, place) for component in components for place in range(64)}
    for scan in scans:
        band = scan.start + 1 + 2 * data[scan.start]
        first, last, bits = data[band : band + 3]
        if not bits & 15:
            components = data[scan.start + 1 : band : 2]
            missing -= {(component, place) for component in components for place in range(first, last + 1)}
    return not missing
