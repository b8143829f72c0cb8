"""TIFFs as programs other than Pillow write them, and such as no program writes."""

import io
import struct
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from PIL import Image

from blip_serve.images.structure import tiff
from tests.images import samples
from tests.images.samples import file_bytes, gradient

WIDTH, HEIGHT, BITS, COMPRESSION, PAPER, OFFSETS, ORIENTATION, SAMPLES, ROWS, COUNTS, PLANAR = (
    256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 284)  # fmt: skip
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS, FORMAT = 322, 323, 324, 325, 339
Tags = Mapping[int, Sequence[int]]
GREY: Tags = {WIDTH: [4], HEIGHT: [4], BITS: [8], PAPER: [1], ROWS: [2], OFFSETS: [8, 16], COUNTS: [8, 8]}
PIXELS = bytes(range(16))


def grey(changes: Tags, pixels: bytes = PIXELS, order: str = "<") -> bytes:
    """A grey picture of 4 x 4 in two strips, with `changes`."""
    return samples.tiff({**GREY, **changes}, pixels, order)


def opened(data: bytes) -> Image.Image:
    """What Pillow makes of what the walk leaves."""
    picture = Image.open(io.BytesIO(tiff.essence(data).data))
    picture.load()
    return picture


def tags_of(data: bytes) -> set[int]:
    """The tags that the walk leaves."""
    return set(Image.open(io.BytesIO(tiff.essence(data).data)).tag_v2)  # type: ignore[attr-defined]


@pytest.mark.parametrize("order", ["<", ">"])
def test_strips_are_joined(order: str) -> None:
    data = grey({}, order=order)
    assert opened(data).tobytes() == PIXELS
    assert tiff.size(data) == (4, 4)


def test_strips_may_lie_in_any_order_and_be_longer_than_their_rows() -> None:
    data = grey({OFFSETS: [17, 8], COUNTS: [8, 9]}, PIXELS[8:] + b"x" + PIXELS[:8])
    assert opened(data).tobytes() == PIXELS


def test_a_picture_in_planes_is_that_of_its_pixels() -> None:
    picture = gradient("RGB", (40, 24))
    planes = b"".join(band.tobytes() for band in picture.split())
    strips = [8 + 10 * 40 * n - 40 * 6 * (n // 3) for n in range(9)]
    tags = {WIDTH: [40], HEIGHT: [24], BITS: [8] * 3, PAPER: [2], SAMPLES: [3], PLANAR: [2], ROWS: [10],
            OFFSETS: strips, COUNTS: [400, 400, 160] * 3}  # fmt: skip
    assert opened(samples.tiff(tags, planes)).tobytes() == picture.tobytes()


def test_tiles_are_put_together() -> None:
    pixels = np.asarray(gradient("L", (40, 24)))
    padded = np.zeros((32, 48), np.uint8)
    padded[:24, :40] = pixels
    tiles = [padded[y : y + 16, x : x + 16].tobytes() for y in (0, 16) for x in (0, 16, 32)]
    tags = {WIDTH: [40], HEIGHT: [24], BITS: [8], PAPER: [1], TILE_WIDTH: [16], TILE_LENGTH: [16],
            TILE_OFFSETS: [8 + 256 * n for n in range(6)], TILE_COUNTS: [256] * 6}  # fmt: skip
    assert opened(samples.tiff(tags, b"".join(tiles))).tobytes() == pixels.tobytes()


def test_the_orientation_is_handed_on_and_not_left_in_the_file() -> None:
    essence = tiff.essence(grey({ORIENTATION: [6]}))
    exif = Image.Exif()
    exif.load(essence.exif)
    assert dict(exif) == {ORIENTATION: 6}
    assert ORIENTATION not in tags_of(grey({ORIENTATION: [6]}))
    assert tiff.essence(grey({})).exif == b""


def test_other_tags_are_not_read_whatever_they_claim() -> None:
    plain = grey({})
    exif_and_subdirectories = {34665: [8], 330: [8] * 1000, 700: [1] * 5000, 34675: [2] * 5000}
    assert tiff.essence(grey(exif_and_subdirectories)).data == tiff.essence(plain).data
    entries = struct.pack("<HHII", 50000, 7, 0xFFFFFFFF, 0xFFFFFFFF) * 900
    at = len(PIXELS) + 8
    count = len(GREY) + 900
    shifted = samples.tiff({**GREY, OFFSETS: [8, 16]}, PIXELS)
    head, own, rest = shifted[: at + 2], shifted[at + 2 : at + 2 + 12 * len(GREY)], shifted[at + 2 + 12 * len(GREY) :]
    moved = bytearray(own)
    for n in range(len(GREY)):
        _, _, many, value = struct.unpack_from("<HHII", moved, 12 * n)
        struct.pack_into("<I", moved, 12 * n + 8, value + len(entries) if many > 1 else value)
    flooded = head[:-2] + struct.pack("<H", count) + bytes(moved) + entries + rest
    assert tiff.essence(flooded).data == tiff.essence(plain).data
    more = flooded[:at] + struct.pack("<H", 1_001) + flooded[at + 2 :]
    with pytest.raises(ValueError, match="too many tags"):
        tiff.essence(more)


def test_other_pages_are_left_out() -> None:
    pages = [gradient("L"), Image.new("L", (500, 500))]
    alone, both = (
        file_bytes(pages[0], "TIFF", **more) for more in ({}, {"save_all": True, "append_images": pages[1:]})
    )
    assert tiff.essence(both).data == tiff.essence(alone).data


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({OFFSETS: [8, 8]}, "one over the other"),
        ({OFFSETS: [8, 15]}, "one over the other"),
        ({COUNTS: [8, 0]}, "or are empty"),
        ({OFFSETS: [8, 4000]}, "outside the file"),
        ({COUNTS: [8, 0xFFFFFFFF]}, "outside the file"),
        ({COUNTS: [8, 7]}, "pixels are missing"),
        ({OFFSETS: [8]}, "pieces are missing"),
        ({ROWS: [1]}, "pieces are missing"),
        ({ROWS: [0]}, "pieces without pixels"),
        ({BITS: [8, 16]}, "no such samples"),
        ({BITS: [32]}, "no such samples"),
        ({BITS: [12]}, "no such samples"),
        ({BITS: [16], PAPER: [0]}, "no such samples"),
        ({FORMAT: [2]}, "no such samples"),
        ({FORMAT: [3], BITS: [32]}, "no such samples"),
        ({SAMPLES: [7]}, "no such samples"),
        ({SAMPLES: [0]}, "no such samples"),
        ({PAPER: [6]}, "no such samples"),
        ({COMPRESSION: [4]}, "no such samples"),  # of one bit only
        ({BITS: [16, 16, 16], SAMPLES: [3], PAPER: [2], PLANAR: [2]}, "no such planes"),
        ({TILE_WIDTH: [60_000], TILE_LENGTH: [60_000], TILE_OFFSETS: [8], TILE_COUNTS: [16]}, "too large"),
        ({WIDTH: [60_000], HEIGHT: [600], TILE_WIDTH: [1], TILE_LENGTH: [1]}, "too many pieces"),
        ({HEIGHT: [60_000], COMPRESSION: [7], ROWS: [1]}, "too many pieces"),
        ({OFFSETS: range(65_537)}, "too many values"),
        ({WIDTH: [4, 4]}, "too many values"),
    ],
)
def test_what_no_program_writes_is_refused(changes: Tags, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        tiff.essence(grey(changes))


@pytest.mark.parametrize("compression", [6, 32809, 34676, 34925, 50000, 50001, 9])
def test_compressions_that_are_rare_or_not_bounded_are_refused(compression: int) -> None:
    with pytest.raises(ValueError, match="no such samples"):
        tiff.essence(grey({COMPRESSION: [compression]}))


def test_a_photometric_interpretation_without_a_colour_is_refused() -> None:
    with pytest.raises(KeyError):
        tiff.essence(grey({PAPER: [8]}))


def in_a_strip(stream: bytes, rows: int = 17) -> bytes:
    """A TIFF of 31 pixels a row that holds a JPEG."""
    tags = {WIDTH: [31], HEIGHT: [rows], BITS: [8] * 3, COMPRESSION: [7], PAPER: [6], SAMPLES: [3], ROWS: [rows],
            OFFSETS: [8], COUNTS: [len(stream)]}  # fmt: skip
    return samples.tiff(tags, stream)


def test_a_jpeg_must_fit_its_strip_and_be_decodable_row_by_row() -> None:
    stream = file_bytes(gradient(), "JPEG")
    assert opened(in_a_strip(stream)).size == (31, 17)
    for bad in (file_bytes(gradient(size=(32, 17)), "JPEG"), file_bytes(gradient(size=(31, 18)), "JPEG")):
        with pytest.raises(ValueError, match="larger than its piece"):
            tiff.essence(in_a_strip(bad))
    for bad in (file_bytes(gradient(), "JPEG", progressive=True), stream[:-2] + stream[2:]):
        with pytest.raises(ValueError, match="no frame, more than one, or a progressive one"):
            tiff.essence(in_a_strip(bad))
    for cut in (stream[:-2], stream[:30], b""):
        with pytest.raises(ValueError, match=r"cut off|or are empty"):
            tiff.essence(in_a_strip(cut))
    scan = stream[stream.index(b"\xff\xda") : -2]
    with pytest.raises(ValueError, match="too many scans"):
        tiff.essence(in_a_strip(stream[:-2] + scan * 4 + stream[-2:]))
