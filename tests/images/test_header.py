import pytest

from blip_serve.domain import ImageFormat
from blip_serve.images.header import declared_size, sniff

from .samples import file_bytes, gradient, png, webp

KINDS: list[ImageFormat] = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"]


@pytest.mark.parametrize("kind", [*KINDS, "AVIF", "HEIC"])
def test_a_format_is_known_by_its_signature(kind: ImageFormat) -> None:
    assert sniff(file_bytes(gradient(), kind)) == kind


@pytest.mark.parametrize(
    "data", [b"", b"P", b"\x89PNG", b"GIF", b"RIFF1234WAVE", b"\0\0\0\x18ftypmif1\0\0\0\0mif1miaf", b"II+\0"]
)
def test_other_signatures_are_unknown(data: bytes) -> None:
    assert sniff(data) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1, 1), (31, 17), (3, 400)])
def test_the_declared_size_is_the_images(kind: ImageFormat, size: tuple[int, int]) -> None:
    assert declared_size(file_bytes(gradient(size=size), kind), kind) == size


def test_a_file_of_both_brands_is_an_avif() -> None:
    assert sniff(b"\0\0\0\x1cftypheic\0\0\0\0mif1heicavif") == "AVIF"


@pytest.mark.parametrize("options", [{"lossless": True}, {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}, {"quality": 10}])
def test_each_kind_of_webp_header_is_read(options: dict[str, object]) -> None:
    assert declared_size(file_bytes(gradient(), "WEBP", **options), "WEBP") == (31, 17)


@pytest.mark.parametrize(
    "options", [{"progressive": True}, {"comment": b"\xff\xc0\0\x0b\x08\0\1\0\1"}, {"exif": b"x" * 60000}]
)
def test_a_jpegs_size_stands_behind_other_segments(options: dict[str, object]) -> None:
    assert declared_size(file_bytes(gradient(), "JPEG", **options), "JPEG") == (31, 17)


def test_sizes_that_no_raster_would_fit_are_read() -> None:
    assert declared_size(png(60000, 60000), "PNG") == (60000, 60000)
    assert declared_size(webp(16384, 16384), "WEBP") == (16384, 16384)


def test_a_bitmap_with_rows_from_the_top_has_a_positive_height() -> None:
    data = bytearray(file_bytes(gradient(), "BMP"))
    data[22:26] = (-17).to_bytes(4, "little", signed=True)
    assert declared_size(bytes(data), "BMP") == (31, 17)


@pytest.mark.parametrize("kind", [*KINDS, "AVIF"])
def test_a_header_that_is_cut_off_declares_nothing_or_the_truth(kind: ImageFormat) -> None:
    data = file_bytes(gradient(), kind)
    assert {declared_size(data[:length], kind) for length in range(60)} <= {None, (31, 17)}
