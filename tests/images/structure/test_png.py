import struct
import zlib

import pytest

from blip_serve.images.structure.essence import MAX_METADATA, MAX_STEPS
from blip_serve.images.structure.png import essence
from tests.images.samples import chunk, png

PLAIN = png(1, 1)
PIXELS = zlib.compress(b"\0\1\2\3")
XMP = b'<x tiff:Orientation="6"/>'
HEX = b"\nexif\n       8\n4578 696600\n00ff\n"


def beside(name: bytes, data: bytes) -> bytes:
    return png(1, 1, (name, data))


@pytest.mark.parametrize("name", [b"tEXt", b"gAMA", b"acTL", b"fcTL", b"fdAT", b"abCd", b"CgBI", b"sPLT"])
def test_what_makes_no_picture_is_left_out(name: bytes) -> None:
    assert essence(beside(name, b"x" * 100)).data == PLAIN


@pytest.mark.parametrize("name", [b"PLTE", b"tRNS"])
def test_what_makes_the_picture_stays(name: bytes) -> None:
    data = beside(name, b"x" * 6)
    assert essence(data).data is data
    assert essence(data[:33] + chunk(b"tEXt", b"a\0b") + data[33:]).data == data


def test_pixels_in_pieces_become_one_piece() -> None:
    header, end = PLAIN[:33], chunk(b"IEND", b"")
    pieces = [chunk(b"IDAT", PIXELS[n : n + 1]) + chunk(b"IDAT", b"") * 100 for n in range(len(PIXELS))]
    assert essence(header + b"".join(pieces) + end).data == header + chunk(b"IDAT", PIXELS) + end


@pytest.mark.parametrize("cut", range(5, 13))
def test_a_file_without_its_end_gets_one(cut: int) -> None:
    assert essence(PLAIN[:-cut]).data == PLAIN


@pytest.mark.parametrize("at", [33, -12], ids=["before the pixels", "behind them"])
def test_what_ends_the_walk_early_stays_hidden_from_the_decoder(at: int) -> None:
    """However many chunks there are. The decoder would read on, because it accepts an underscore in a name."""
    for extra in range(4):
        data = PLAIN[:at] + chunk(b"tEXt", b"a\0b") * extra + chunk(b"_a__", b"") * 3 + PLAIN[at:]
        assert b"_a__" not in essence(data).data


def test_frames_that_follow_are_not_walked_over() -> None:
    frames = chunk(b"fcTL", bytes(26)) + chunk(b"fdAT", b"x") * MAX_STEPS
    assert essence(PLAIN[:-12] + frames + PLAIN[-12:]).data == PLAIN


@pytest.mark.parametrize("name", [b"IDAT", b"tEXt", b"abCd", b"IHDR"])
def test_the_walk_is_bounded_in_steps(name: bytes) -> None:
    def of(count: int) -> bytes:
        return PLAIN[:33] + chunk(name, b"") * count + PLAIN[33:]

    assert essence(of(MAX_STEPS - 3)).data[-12:] == PLAIN[-12:]
    with pytest.raises(ValueError, match="too many"):
        essence(of(MAX_STEPS - 2))


def test_what_is_no_chunk_ends_the_walk() -> None:
    assert essence(PLAIN[:-12] + bytes(12) * MAX_STEPS).data == PLAIN


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (b"tEXt", b"XML:com.adobe.xmp\0" + XMP),
        (b"zTXt", b"XML:com.adobe.xmp\0\0" + zlib.compress(XMP)),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0en\0word\0" + XMP),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP)),
    ],
)
def test_xmp_is_found_in_every_kind_of_text(name: bytes, data: bytes) -> None:
    for file in (beside(name, data), PLAIN[:-12] + chunk(name, data) + PLAIN[-12:]):
        assert (essence(file).xmp, essence(file).data) == (XMP, PLAIN)


@pytest.mark.parametrize(
    ("name", "data", "exif"),
    [
        (b"eXIf", b"II*\0", b"II*\0"),
        (b"tEXt", b"Raw profile type exif\0" + HEX, b"Exif\0\0\xff"),
        (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(HEX), b"Exif\0\0\xff"),
        (b"zTXt", b"Raw profile type exif\0\0" + b"no zlib", b""),
        (b"tEXt", b"Raw profile type exif\0\n\n\nno hexadecimals", b""),
        (b"tEXt", b"Raw profile type exif\0", b""),
        (b"tEXt", b"Raw profile type exif", b""),
    ],
)
def test_exif_data_are_found_where_they_may_stand(name: bytes, data: bytes, exif: bytes) -> None:
    assert (essence(beside(name, data)).exif, essence(beside(name, data)).data) == (exif, PLAIN)


def test_what_is_damaged_says_nothing() -> None:
    data = bytearray(chunk(b"eXIf", b"II*\0"))
    data[-1] ^= 1
    assert essence(PLAIN[:-12] + data + PLAIN[-12:]).exif == b""
    assert essence(PLAIN[:-12] + struct.pack(">I", 1000) + b"eXIfII*\0").exif == b""


def test_of_a_long_text_the_beginning_is_looked_at() -> None:
    for method, text in ((b"", XMP), (b"\0", zlib.compress(XMP + bytes(5 * MAX_METADATA)))):
        data = beside(b"zTXt" if method else b"tEXt", b"XML:com.adobe.xmp\0" + method + text + bytes(2 * MAX_METADATA))
        assert essence(data).xmp.startswith(XMP)
        assert len(essence(data).xmp) <= MAX_METADATA
