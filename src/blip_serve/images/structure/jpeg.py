"""Finds the segments of a JPEG that make its picture. Decodes no pixels.

https://www.w3.org/Graphics/JPEG/itu-t81.pdf, annex B
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from blip_serve.images.structure.essence import Essence

SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a frame header, which holds the size."""
MAX_SCANS = 100
"""Limit of scans. Encoders write about ten. A scan can cost 1 ms per megapixel and needs only 60 bytes of file."""
_MAX_SCANS_UNENDED = MAX_SCANS // 5
"""Smaller, because a picture without an end marker is decoded five times."""
_MAX_SEGMENTS = 10_000
"""Limit of segments. Cameras write dozens, or hundreds with a long colour profile. A walk over 10,000 takes 10 ms."""
_MAX_HEADER = 64 * 1024
"""Limit in bytes of the tables and frame headers before the first scan. Four tables of each kind take 3,000.

Also the limit for unused bytes between two segments there. Encoders that align their data write a few.
"""
_FILL = b"\xff" * 1024
"""A run of fill bytes before a marker, longer than any encoder writes. Decoders are slow on long runs."""

_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")  # without the markers that have no length and no data
_SOS, _EOI, _COM, _APP0, _APP1, _APP14 = 0xDA, 0xD9, 0xFE, 0xE0, 0xE1, 0xEE
_APPLICATIONS = frozenset(range(0xE0, 0xF0))
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"


class Segment(NamedTuple):
    """A marker, and the offsets at which its data start (after their length) and end."""

    marker: int
    start: int
    end: int


def segments(data: bytes) -> Iterator[Segment]:
    """The segments of a JPEG that have data. The last one is the end marker, if the file has one.

    Raises `ValueError` for too many segments, and for too many bytes between segments.
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
    """The offset of the next run of fill bytes that is too long, or the end of the file."""
    found = data.find(_FILL, position)
    return len(data) if found < 0 else found


def essence(data: bytes) -> Essence:
    """The file without comments and application segments. Keeps the two segments that define its colours.

    Raises `ValueError` for too many segments or scans, and if scans are missing.
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
        data[exif[0].start : exif[0].end] if exif else b"",  # only the first segment: longer EXIF data are cut
        data[xmp[-1].start : xmp[-1].end] if xmp else b"",
        ended,
    )


def _picture(data: bytes, header: Sequence[Segment], scan: Segment) -> bytes:
    """`data` with only the needed segments before its first scan, and no bytes between them."""
    kept = [segment for segment in header if _needed(data, segment)]
    size = sum(segment.end - segment.start + 4 for segment in kept)
    if size > _MAX_HEADER or sum(segment.marker in SOF for segment in kept) != 1:
        raise ValueError("too long a header, or not one frame")
    if size == scan.start - 6:
        return data
    view = memoryview(data)
    return b"".join((data[:2], *(view[s.start - 4 : s.end] for s in kept), view[scan.start - 4 :]))


def _needed(data: bytes, segment: Segment) -> bool:
    """Whether the decoder needs the segment: tables, frames, and complete JFIF and Adobe segments (colours)."""
    marker, start, end = segment
    if marker == _APP0:
        return data.startswith(b"JFIF\0", start) and end - start >= 14
    if marker == _APP14:
        return data.startswith(b"Adobe", start) and end - start >= 12
    return marker != _COM and marker not in _APPLICATIONS


def _complete(data: bytes, header: Sequence[Segment], scans: Sequence[Segment]) -> bool:
    """Whether the scans contain every coefficient of every component with its last bit."""
    frame = next(segment.start for segment in header if segment.marker in SOF)
    components = data[frame + 6 : frame + 6 + 3 * data[frame + 5] : 3]
    missing = {(component, index) for component in components for index in range(64)}
    for scan in scans:
        band = scan.start + 1 + 2 * data[scan.start]
        first, last, bits = data[band : band + 3]
        if not bits & 15:
            components = data[scan.start + 1 : band : 2]
            missing -= {(component, index) for component in components for index in range(first, last + 1)}
    return not missing
