import io
import struct

import pytest
from PIL import Image

from blip_serve.images.structure import jpeg
from blip_serve.images.structure.jpeg import MAX_SCANS, essence, segments
from tests.images.samples import file_bytes, gradient

PLAIN = file_bytes(gradient(), "JPEG")
PROGRESSIVE = file_bytes(gradient(), "JPEG", progressive=True)


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(data)) + data


def with_segment(data: bytes) -> bytes:
    return PLAIN[:2] + data + PLAIN[2:]


@pytest.mark.parametrize("marker", [0xFE, *range(0xE0, 0xF0)])
def test_what_makes_no_picture_is_left_out(marker: int) -> None:
    assert essence(with_segment(segment(marker, b"x" * 40))).data == PLAIN


@pytest.mark.parametrize("data", [b"JFIF\0\1", b"Adobe\0"])
def test_a_note_of_the_colours_that_is_too_short_is_left_out(data: bytes) -> None:
    assert essence(with_segment(segment(0xE0 if data[:1] == b"J" else 0xEE, data))).data == PLAIN


@pytest.mark.parametrize("transform", [0, 1])
def test_a_note_of_the_colours_stays(transform: int) -> None:
    note = segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes((transform,)))
    data = PLAIN[:2] + note + PLAIN[20:]  # in place of JFIF's
    assert essence(data).data is data


@pytest.mark.parametrize("junk", [b"\xff" * 60_000, b"\0" * 60_000, b"\xff\xd0" * 30_000, b"\xff\0" * 30_000])
def test_what_stands_between_segments_is_left_out_up_to_a_bound(junk: bytes) -> None:
    assert essence(with_segment(junk)).data == PLAIN
    with pytest.raises(ValueError, match="between"):
        essence(with_segment(junk * 2))


def test_fill_bytes_in_the_scans_are_bounded() -> None:
    data = PROGRESSIVE[:-2] + b"\xff" * 1000 + PROGRESSIVE[-2:]
    assert essence(data).data is data
    with pytest.raises(ValueError, match="between"):
        essence(PROGRESSIVE[:-2] + b"\xff" * 2000 + PROGRESSIVE[-2:])
    behind = PROGRESSIVE + b"\xff" * 2000
    assert essence(behind).data is behind


@pytest.mark.parametrize("marker", [0xFE, 0xE1, 0xDB, 0xC4])
def test_the_walk_is_bounded_in_steps(marker: int) -> None:
    data = with_segment(segment(marker, b"") * 10_000)
    with pytest.raises(ValueError, match="too many"):
        essence(data)


def test_tables_are_bounded() -> None:
    table = segment(0xDB, (b"\0" + b"\1" * 64) * 100)
    assert essence(with_segment(table * 9)).data == with_segment(table * 9)
    with pytest.raises(ValueError, match="header"):
        essence(with_segment(table * 11))


def test_a_second_frame_is_refused() -> None:
    frame = next(s for s in segments(PLAIN) if s.marker in jpeg.SOF)
    with pytest.raises(ValueError, match="one frame"):
        essence(with_segment(PLAIN[frame.start - 4 : frame.end]))


def test_the_first_exif_data_and_the_last_xmp_are_found() -> None:
    exif = b"".join(segment(0xE1, b"Exif\0\0" + data) for data in (b"II", b"more"))
    xmp = b"".join(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + data) for data in (b"first", b"last"))
    found = essence(with_segment(exif + xmp))
    assert (found.exif, found.xmp[-5:], found.data) == (b"Exif\0\0II", b"\0last", PLAIN)


def test_scans_are_counted_to_the_end() -> None:
    hidden = b"\xff\xda\xff\xd9"
    data = file_bytes(gradient(), "JPEG", comment=hidden) + hidden * MAX_SCANS
    assert Image.open(io.BytesIO(essence(data).data)).size == (31, 17)
    scan = PROGRESSIVE[PROGRESSIVE.rindex(b"\xff\xda") : -2]
    with pytest.raises(ValueError, match="scans"):
        essence(PROGRESSIVE[:-2] + scan * (MAX_SCANS - 9) + PROGRESSIVE[-2:])


@pytest.mark.parametrize("data", [b"\xff\xd8\xff", PLAIN[:100], b"\xff\xd8\xff\xd9"])
def test_a_file_without_a_scan_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="scans"):
        essence(data)


@pytest.mark.parametrize("data", [PLAIN, PROGRESSIVE])
def test_a_file_without_its_end_says_so(data: bytes) -> None:
    assert essence(data).ended
    assert not essence(data[:-2]).ended


@pytest.mark.parametrize("scan", range(1, 10))
def test_a_file_that_ends_between_two_scans_is_refused(scan: int) -> None:
    starts = [s.start - 4 for s in segments(PROGRESSIVE) if s.marker == 0xDA]
    with pytest.raises(ValueError, match="missing"):
        essence(PROGRESSIVE[: starts[scan]])
