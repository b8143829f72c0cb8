import io
import struct
import sys
import tracemalloc
import zlib
from contextlib import suppress
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import BmpImagePlugin, ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError, features

from blip_serve.domain import ImageFormat
from blip_serve.errors import ConfigurationError, InvalidInput, OutOfMemory
from blip_serve.fair_threads import NotNow
from blip_serve.images.decode import BYTES_A_PIXEL, Decoder, own_formats
from blip_serve.images.structure.jpeg import MAX_SCANS
from blip_serve.settings import ImageSettings
from tests.support.memory import memory_within

from .refusals import refused
from .samples import file_bytes, gradient, image_bytes, png, webp

# As in production (`cli`): what Pillow thinks of damaged EXIF data concerns nobody.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

KINDS = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF", "TIFF", "HEIC"]
ALL = ImageSettings(formats=own_formats())
DECODER = Decoder(ALL)
USUAL = Decoder(ImageSettings())
SAMPLES = {kind: file_bytes(gradient(size=(40, 24)), kind) for kind in KINDS}
CODES = {None, "invalid_image", "image_too_large", "invalid_image_dimensions", "unsupported_image_format"}
FUZZ = settings(max_examples=150, deadline=None, derandomize=True)
HEAVY_SIZE = (2000, 1500)
HEAVY = file_bytes(Image.effect_noise(HEAVY_SIZE, 10), "PNG", compress_level=1)
HEAVY_BYTES = HEAVY_SIZE[0] * HEAVY_SIZE[1] * BYTES_A_PIXEL["PNG"]
TURNED = Image.Exif()
TURNED[ExifTags.Base.Orientation] = 6
RED, WHITE = (255, 0, 0), (255, 255, 255)


def decoded(data: bytes, decoder: Decoder = DECODER) -> Image.Image:
    with decoder.open(image_bytes(data)) as image:
        assert image.mode == "RGB"
        assert decoder.size(image_bytes(data)) == image.size
        return image.copy()


def reference(data: bytes) -> Image.Image:
    """What Pillow alone makes of `data`, as the models' own processors read it."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def same(one: Image.Image, other: Image.Image) -> bool:
    return one.size == other.size and one.tobytes() == other.tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 40), (40, 24)])
def test_plain_images_come_out_as_pillow_reads_them(kind: str, mode: str, size: tuple[int, int]) -> None:
    data = file_bytes(gradient(mode, size), kind)
    assert same(decoded(data), reference(data))


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("JPEG", "RGB", {"progressive": True}),
        ("JPEG", "CMYK", {}),
        ("PNG", "1", {}),
        ("PNG", "P", {}),
        ("BMP", "P", {}),
        ("BMP", "1", {}),
        ("TIFF", "CMYK", {}),
        ("TIFF", "1", {"compression": "group4"}),
        ("TIFF", "P", {"compression": "tiff_lzw"}),
        ("TIFF", "RGB", {"compression": "jpeg"}),
        ("GIF", "P", {"interlace": True}),
        ("WEBP", "RGB", {"lossless": True}),
    ],
)
def test_opaque_images_of_every_mode_come_out_as_pillow_reads_them(
    kind: str, mode: str, options: dict[str, bool]
) -> None:
    data = file_bytes(gradient(mode), kind, **options)
    assert same(decoded(data), reference(data))


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("TIFF", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}, 3),
    ],
)
def test_transparency_is_laid_over_white(kind: str, options: dict[str, object], tolerance: int) -> None:
    image = Image.new("RGBA", (48, 16), (255, 0, 0, 255))
    image.paste((255, 0, 0, 127), (16, 0, 32, 16))
    image.paste((0, 0, 0, 0), (32, 0, 48, 16))
    pixels = np.asarray(decoded(file_bytes(image, kind, **options))).astype(int)
    expected = [RED, (255, 128, 128), WHITE]
    assert np.abs(pixels[8, [8, 24, 40]] - expected).max() <= tolerance


def test_grey_with_alpha_is_laid_over_white() -> None:
    image = Image.new("LA", (2, 1), (0, 0))
    image.putpixel((1, 0), (100, 255))
    assert list(np.asarray(decoded(file_bytes(image, "PNG")))[0, :, 0]) == [255, 100]


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_palette_entry_is_white(kind: str) -> None:
    image = Image.new("P", (2, 1), 0)
    image.putpalette([0, 0, 255, 255, 0, 0])
    image.putpixel((1, 0), 1)
    pixels = decoded(file_bytes(image, kind, transparency=0))
    assert (pixels.getpixel((0, 0)), pixels.getpixel((1, 0))) == (WHITE, RED)


def test_a_palette_with_degrees_of_transparency_is_laid_over_white() -> None:
    image = Image.new("P", (2, 1), 0)
    image.putpalette([255, 0, 0, 255, 0, 0])
    image.putpixel((1, 0), 1)
    pixels = decoded(file_bytes(image, "PNG", transparency=bytes([255, 127])))
    assert (pixels.getpixel((0, 0)), pixels.getpixel((1, 0))) == (RED, (255, 128, 128))


@pytest.mark.parametrize(("mode", "key"), [("RGB", (0, 0, 255)), ("L", 7)])
def test_the_colour_named_transparent_is_white(mode: str, key: int | tuple[int, int, int]) -> None:
    pixels = decoded(file_bytes(Image.new(mode, (2, 2), key), "PNG", transparency=key))
    assert pixels.getpixel((0, 0)) == WHITE


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "I;16"), ("TIFF", "I;16"), ("TIFF", "I;16B")])
def test_sixteen_bit_grey_is_scaled(kind: str, mode: str) -> None:
    grey = np.array([0, 255, 256, 32768, 65535], dtype=">u2" if mode == "I;16B" else "<u2")
    pixels = np.asarray(decoded(file_bytes(Image.frombytes(mode, (5, 1), grey.tobytes()), kind)))
    assert pixels[0].tolist() == [[v, v, v] for v in (0, 0, 1, 128, 255)]


def test_sixteen_bit_colour_is_scaled() -> None:
    row = zlib.compress(b"\0" + struct.pack(">3H", 65535, 32768, 256))
    data = png(1, 1, (b"IDAT", row), depth=16)
    assert decoded(data).getpixel((0, 0)) == (255, 128, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_the_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = file_bytes(gradient(), kind, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert upright is not None
    assert upright.size == ((17, 31) if orientation > 4 else (31, 17))
    assert same(decoded(data), upright.convert("RGB"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_heic_is_turned_once(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = file_bytes(gradient(size=(128, 64)), "HEIC", exif=exif.tobytes())
    plain = Image.open(io.BytesIO(file_bytes(gradient(size=(128, 64)), "HEIC")))
    plain.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(plain).convert("RGB"))
    assert np.abs(np.asarray(decoded(data)).astype(int) - upright).mean() < 1


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_means_nothing_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = file_bytes(gradient(), "PNG", exif=exif)
    assert same(decoded(data), reference(data))


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0II*\0", b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\1\5\0" * 40]
)
def test_damaged_exif_data_do_not_spoil_the_picture(exif: bytes) -> None:
    data = file_bytes(gradient(), "JPEG", exif=exif)
    assert same(decoded(data), reference(data))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF", "MPO", "TIFF", "HEIC"])
def test_of_several_frames_the_first_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "green")]
    data = file_bytes(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
    assert Image.open(io.BytesIO(data)).n_frames == 3  # type: ignore[attr-defined]
    assert np.abs(np.asarray(decoded(data)).astype(int) - RED).max() <= 3


@pytest.mark.parametrize("kind", ["TIFF", "HEIC", "ICO", "PPM", "TGA", "PCX", "EPS", "PDF", "JPEG2000", "DDS", "SGI"])
def test_other_image_formats_are_unsupported(kind: str) -> None:
    with refused("unsupported_image_format"):
        decoded(file_bytes(gradient(), kind), USUAL)


@pytest.mark.parametrize(
    "data",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<!doctype html><p>no picture",
        b"PK\x03\x04" + bytes(100),
        b"SIMPLE  =                    T" + b" " * 2850,
        b"\0\0\0\x18ftypmif1\0\0\0\0mif1miaf",
        b"II+\0\x08\0\0\0" + bytes(100),
        b"x",
        bytes(1000),
    ],
)
def test_what_is_no_image_is_unsupported(data: bytes) -> None:
    with refused("unsupported_image_format"):
        decoded(data)


def test_formats_this_build_cannot_read_are_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda name: False)
    decoder = Decoder(ImageSettings())
    for kind in ("AVIF", "WEBP"):
        with refused("unsupported_image_format"):
            decoded(SAMPLES[kind], decoder)
    assert decoded(SAMPLES["PNG"], decoder).size == (40, 24)


def test_heic_without_its_package_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif.as_plugin", None)
    with pytest.raises(ConfigurationError, match=r"images\.formats: HEIC needs .* pip install 'blip-serve\[heic\]'"):
        Decoder(ALL)
    assert Decoder(ImageSettings(formats=("TIFF",))).formats == {"TIFF"}


def test_no_bytes_are_an_empty_image() -> None:
    with refused("empty_image"):
        decoded(b"")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9])
def test_a_file_cut_off_is_invalid(kind: str, kept: float) -> None:
    noise = Image.effect_noise((64, 64), 100).convert("RGB")
    data = file_bytes(noise, kind)
    with refused("invalid_image"):
        decoded(data[: int(len(data) * kept)])


@pytest.mark.parametrize("kind", KINDS)
def test_a_signature_alone_is_invalid(kind: str) -> None:
    with refused("invalid_image"):
        decoded(SAMPLES[kind][:20] if kind == "AVIF" else SAMPLES[kind][:16])


def _jpeg_of_height_zero() -> bytes:
    data = bytearray(SAMPLES["JPEG"])
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 2] = b"\0\0"
    return bytes(data)


def _bmp_of_width_zero() -> bytes:
    data = bytearray(SAMPLES["BMP"])
    data[18:22] = bytes(4)
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        png(0, 10),
        png(10, 0),
        png(0, 0),
        png(100_000, 1),
        png(1, 65_536),
        webp(65_536, 1),
        b"GIF89a" + bytes(20),
        _jpeg_of_height_zero(),
        _bmp_of_width_zero(),
    ],
)
def test_impossible_dimensions_are_refused(data: bytes) -> None:
    with refused("invalid_image_dimensions"):
        decoded(data)


@pytest.mark.parametrize("data", [png(60_000, 60_000), png(12_000, 12_000), png(6_400, 6_400), webp(16_000, 16_000)])
def test_an_image_over_the_pixel_limit_is_refused_before_a_decoder_sees_it(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Decoder, "_open", None)
    with refused("image_too_large"):
        decoded(data)


def test_a_real_image_over_the_pixel_limit_is_refused_likewise(monkeypatch: pytest.MonkeyPatch) -> None:
    data = file_bytes(Image.new("1", (12_000, 12_000)), "PNG")
    monkeypatch.setattr(Decoder, "_open", None)
    with refused("image_too_large"):
        decoded(data)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "HEIC"])
def test_the_pixel_limit_is_exact(kind: str) -> None:
    def limited(pixels: int) -> Decoder:
        return Decoder(ALL.model_copy(update={"max_pixels": pixels}))

    assert decoded(SAMPLES[kind], limited(40 * 24)).size == (40, 24)
    with refused("image_too_large"):
        decoded(SAMPLES[kind], limited(40 * 24 - 1))


def test_a_heic_is_held_to_the_pixel_limit_by_the_blocks_that_it_is_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    data = file_bytes(gradient(size=(65, 60)), "HEIC")
    assert decoded(data, Decoder(ALL.model_copy(update={"max_pixels": 72 * 64}))).size == (65, 60)
    monkeypatch.setattr(Decoder, "_open", None)
    with refused("image_too_large"):
        decoded(data, Decoder(ALL.model_copy(update={"max_pixels": 65 * 60 - 1})))


def test_a_gif_whose_frame_outgrows_the_screen_is_held_to_the_limit() -> None:
    data = bytearray(SAMPLES["GIF"])
    data[6:10] = b"\1\0\1\0"
    assert decoded(bytes(data)).size == (40, 24)
    with refused("image_too_large"):
        decoded(bytes(data), Decoder(ImageSettings(max_pixels=100)))


@pytest.mark.parametrize("disposal", [2, 3])
def test_a_gif_over_the_limit_costs_no_frame_buffer(disposal: int) -> None:
    control = b"!\xf9\x04" + bytes([disposal << 2 | 1]) + b"\0\0\0\0"
    frame = b"," + struct.pack("<HHHH", 0, 0, 9_000, 9_000) + b"\0\2\1\0\0;"
    with memory_within(30_000_000), refused("image_too_large"):
        decoded(b"GIF89a\1\0\1\0\0\0\0" + control + frame)


def test_pillows_own_limit_reads_as_ours_where_the_setting_is_above_it() -> None:
    decoder = Decoder(ImageSettings(max_pixels=300_000_000))
    with refused("image_too_large"):
        decoded(webp(16_000, 16_000), decoder)


def test_an_image_above_pillows_warning_is_read_where_the_setting_allows_it() -> None:
    decoder = Decoder(ImageSettings(max_pixels=100_000_000))
    with refused("invalid_image"):  # not a warning, not too large: the file holds one row only
        decoded(png(9_500, 9_500), decoder)


@pytest.mark.parametrize(
    "chunk",
    [
        (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(50_000_000))),
        (b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(bytes(50_000_000))),
        (b"iCCP", b"profile\0\0" + zlib.compress(bytes(50_000_000))),
    ],
)
def test_a_compressed_bomb_in_a_png_is_passed_over(chunk: tuple[bytes, bytes]) -> None:
    data = png(1, 1, chunk)
    tracemalloc.start()
    try:
        assert same(decoded(data), reference(png(1, 1)))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("subject", [b"Raw profile type exif", b"XML:com.adobe.xmp"])
def test_a_bomb_that_may_tell_the_orientation_is_inflated_to_a_bound(subject: bytes) -> None:
    data = png(1, 1, *[(b"zTXt", subject + b"\0\0" + zlib.compress(bytes(50_000_000)))] * 100)
    tracemalloc.start()
    try:
        assert same(decoded(data), reference(png(1, 1)))
        assert tracemalloc.get_traced_memory()[1] < 15_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_an_exif_bomb_takes_little_memory(kind: str) -> None:
    entries = 4_000  # each of them claims to hold the whole block
    tags = b"".join(struct.pack("<HHLL", tag, 7, 60_000, 0) for tag in range(1000, 1000 + entries))
    exif = (b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", entries) + tags).ljust(60_500, b"\0")
    data = file_bytes(gradient(), kind, exif=exif)
    tracemalloc.start()
    try:
        assert decoded(data).size == (31, 17)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_jpeg_with_endless_scans_is_refused_unopened(monkeypatch: pytest.MonkeyPatch) -> None:
    data = file_bytes(gradient(), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    assert decoded(data[:-2] + scan * (MAX_SCANS - 10) + data[-2:]).size == (31, 17)
    opened: list[object] = []
    monkeypatch.setattr(Decoder, "_open", lambda *given: opened.append(given))
    with refused("invalid_image"):
        decoded(data[:-2] + scan * (MAX_SCANS - 9) + data[-2:])
    assert opened == []


@pytest.mark.parametrize(
    "failure",
    [
        SyntaxError("pillow's secret"),
        struct.error("unpack"),
        ValueError("bad"),
        OSError("broken data stream"),
        EOFError(),
        IndexError("index"),
        KeyError("key"),
        TypeError("type"),
        zlib.error("zlib"),
        RecursionError(),
        UnidentifiedImageError("cannot identify"),
    ],
)
@pytest.mark.parametrize("step", ["_open", "load"])
def test_whatever_a_decoder_raises_is_an_invalid_image(
    failure: Exception, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object) -> NoReturn:
        raise failure

    monkeypatch.setattr(BmpImagePlugin.BmpImageFile, step, fail)
    with refused("invalid_image"):
        decoded(SAMPLES["BMP"])


@pytest.mark.parametrize(
    "failure", [MemoryError(), OSError("out of memory when reading image file")], ids=["Python's", "Pillow's"]
)
@pytest.mark.parametrize("step", ["_open", "load"])
def test_a_decoder_without_memory_is_no_fault_of_the_image(
    failure: Exception, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object) -> NoReturn:
        raise failure

    monkeypatch.setattr(BmpImagePlugin.BmpImageFile, step, fail)
    with pytest.raises(OutOfMemory) as caught:
        decoded(SAMPLES["BMP"])
    assert (caught.value.code, caught.value.__cause__) == ("out_of_memory", failure)


@pytest.mark.parametrize("compression", ["group3", "group4", "packbits", "tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_nothing_is_written_to_standard_error_of_a_damaged_tiff(
    compression: str, capfd: pytest.CaptureFixture[str]
) -> None:
    data = bytearray(
        file_bytes(gradient("1" if compression.startswith("group") else "L"), "TIFF", compression=compression)
    )
    data[20:60] = bytes(range(170, 210))
    assert _code(bytes(data)) in (None, "invalid_image")
    assert capfd.readouterr().err == ""


def test_what_the_block_raises_is_left_as_it_is() -> None:
    with pytest.raises(KeyError, match="mine"), DECODER.open(image_bytes(SAMPLES["PNG"])):
        raise KeyError("mine")


def one_at_a_time() -> Decoder:
    """A decoder with room for one image of the size of `HEAVY`."""
    return Decoder(ImageSettings(max_decode_bytes=HEAVY_BYTES))


@pytest.mark.parametrize("failure", [None, KeyError("mine")])
def test_memory_stays_reserved_until_the_block_ends_however_it_ends(failure: Exception | None) -> None:
    decoder = one_at_a_time()
    with suppress(KeyError), decoder.open(image_bytes(HEAVY)):
        with pytest.raises(NotNow):
            decoded(HEAVY, decoder)
        assert decoded(SAMPLES["PNG"], decoder).size == (40, 24)  # a small one needs none
        if failure:
            raise failure
    assert decoded(HEAVY, decoder).size == HEAVY_SIZE


def test_memory_of_an_image_that_fails_is_given_back() -> None:
    decoder = one_at_a_time()
    for _ in range(3):
        with refused("invalid_image"):
            decoded(HEAVY[:-1000], decoder)


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("JPEG", "RGB", {"exif": TURNED}),
        ("JPEG", "RGB", {"exif": TURNED, "progressive": True, "subsampling": 0}),
        ("JPEG", "CMYK", {"exif": TURNED, "progressive": True}),
        ("PNG", "RGB", {"exif": TURNED}),
        ("PNG", "RGBA", {"exif": TURNED}),
        ("PNG", "P", {"exif": TURNED, "transparency": 3}),
        ("PNG", "LA", {}),
        ("PNG", "I;16", {}),
        ("GIF", "P", {"transparency": 3}),
        ("BMP", "RGB", {}),
        ("WEBP", "RGBA", {"lossless": True, "method": 0, "exif": TURNED}),
        ("TIFF", "RGB", {"exif": TURNED}),
        ("TIFF", "RGBA", {"exif": TURNED}),
        ("TIFF", "LA", {"exif": TURNED}),
        ("TIFF", "CMYK", {"exif": TURNED, "compression": "tiff_lzw", "strip_size": 100_000_000}),
        ("TIFF", "RGB", {"exif": TURNED, "compression": "jpeg", "strip_size": 100_000_000}),
        ("TIFF", "I;16", {"exif": TURNED}),
        ("HEIC", "RGB", {"quality": 10}),
        ("AVIF", "RGBA", {"speed": 10, "exif": TURNED, "subsampling": "4:4:4"}),
    ],
)
def test_no_image_takes_more_than_it_weighs(kind: ImageFormat, mode: str, options: dict[str, Any]) -> None:
    noise = Image.effect_noise((300, 200), 100).resize((3000, 2000))
    picture = noise.convert("I;16" if mode == "I;16" else "RGB").convert(mode)
    if mode in ("RGBA", "LA"):
        picture.putalpha(128)
    file = image_bytes(file_bytes(picture, kind, **options))
    with memory_within(6_000_000 * BYTES_A_PIXEL[kind]), DECODER.open(file) as opened:
        opened.resize((96, 96))


def test_nothing_global_is_changed() -> None:
    assert Image.MAX_IMAGE_PIXELS == 1024 * 1024 * 1024 // 4 // 3
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@FUZZ
@given(st.sampled_from(KINDS), st.binary(max_size=200))
def test_random_bytes_behind_a_signature_are_refused_by_code(kind: str, data: bytes) -> None:
    assert _code(SAMPLES[kind][:32] + data) in CODES


@FUZZ
@given(
    st.sampled_from(KINDS),
    st.lists(st.tuples(st.integers(0, 2000), st.binary(min_size=1, max_size=4)), min_size=1, max_size=6),
)
def test_damaged_images_are_read_or_refused_by_code(kind: str, changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(SAMPLES[kind])
    for place, patch in changes:
        at = place % len(data)
        data[at : at + len(patch)] = patch
    assert _code(bytes(data)) in CODES


def _code(data: bytes) -> str | None:
    """The code `data` are refused with; `None` if they are an image after all."""
    try:
        decoded(data)
    except InvalidInput as error:
        return error.code
    return None
