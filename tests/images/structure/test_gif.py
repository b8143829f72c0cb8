import io
import struct

import pytest
from PIL import Image

from blip_serve.images.structure.essence import MAX_STEPS
from blip_serve.images.structure.gif import essence

HEAD = b"GIF89a" + struct.pack("<HHBBB", 2, 2, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
FRAME = b"," + struct.pack("<HHHHB", 0, 0, 2, 2, 0) + b"\2\3\x44\2\5\0;"
COMMENT = b"!\xfe\5hello\0"
LOOP = b"!\xff\x0bNETSCAPE2.0\3\1\0\0\0"


def control(flags: int, colour: int) -> bytes:
    return b"!\xf9\4" + bytes((flags, 9, 9, colour)) + b"\0"


def test_what_makes_no_picture_is_left_out() -> None:
    assert essence(HEAD + COMMENT + LOOP + b"junk" + control(0, 0) + FRAME).data == HEAD + FRAME


def test_a_plain_file_is_left_as_it_is() -> None:
    data = HEAD + FRAME + COMMENT * MAX_STEPS
    assert essence(data).data is data


@pytest.mark.parametrize("flags", [1, 5, 9, 13])
def test_the_transparent_colour_stays_and_how_the_frame_ends_does_not(flags: int) -> None:
    data = essence(HEAD + control(1, 0) + COMMENT + control(flags, 1) + FRAME).data
    assert data == HEAD + b"!\xf9\4\1\0\0\1\0" + FRAME
    assert Image.open(io.BytesIO(data)).info["transparency"] == 1


def test_a_control_that_is_too_short_is_passed_over() -> None:
    assert essence(HEAD + b"!\xf9\1\1\0" + b"!\xf9\0" + FRAME).data == HEAD + FRAME


@pytest.mark.parametrize(("block", "steps"), [(b"!\xfe\0", 1), (b"!\xfe\1a\0", 2), (b"!\xff\1a\1b\1c\0", 4)])
def test_the_walk_is_bounded_in_steps(block: bytes, steps: int) -> None:
    count = MAX_STEPS // steps
    assert essence(HEAD + block * count + FRAME).data == HEAD + FRAME
    with pytest.raises(ValueError, match="too many"):
        essence(HEAD + block * (count + 1) + FRAME)


def test_a_file_cut_off_before_its_frame_is_refused() -> None:
    with pytest.raises(IndexError):
        essence(HEAD + COMMENT[:-1])


def test_a_file_without_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="no block"):
        essence(HEAD + bytes(1000))
