"""A walk never changes the picture of a file."""

import io
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from blip_serve.domain import ImageFormat
from blip_serve.images.header import declared_size
from blip_serve.images.structure.walks import WALKS
from tests.images.samples import file_bytes, gradient

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

FUZZ = settings(max_examples=200, deadline=None, derandomize=True)
MODES: dict[ImageFormat, list[str]] = {
    "PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "JPEG": ["L", "RGB", "CMYK"],
    "WEBP": ["RGB", "RGBA"],
    "GIF": ["1", "L", "P", "RGB", "RGBA"],
    "BMP": ["1", "L", "P", "RGB"],
    "AVIF": ["L", "RGB", "RGBA"],
    "TIFF": ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16", "I;16B"],
    "HEIC": ["L", "RGB", "RGBA"],
}
BYTES = st.binary(max_size=300)
TEXT = st.text(st.characters(codec="latin-1", exclude_characters="\0"), max_size=40)


def picture(mode: str, size: tuple[int, int]) -> Image.Image:
    base = {"I;16": "L", "I;16B": "L", "PA": "P"}.get(mode, mode)
    return gradient(base, size).convert(mode)


@st.composite
def files(draw: st.DrawFn) -> tuple[ImageFormat, bytes]:
    """Pictures saved in every mode with what Pillow writes beside them."""
    kind = draw(st.sampled_from(list(MODES)))
    size = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    image = picture(draw(st.sampled_from(MODES[kind])), size)
    exif = Image.Exif()
    exif[0x010E] = draw(TEXT)
    options: dict[str, Any] = {"exif": exif, "xmp": draw(BYTES), "icc_profile": draw(BYTES), "comment": draw(BYTES)}
    if kind in ("PNG", "GIF", "WEBP", "AVIF") and draw(st.booleans()):
        options |= {"save_all": True, "append_images": [image.rotate(180)] * 2}
    if kind == "GIF":
        options["disposal"] = draw(st.integers(0, 3))
        options["comment"] = draw(st.binary(min_size=1, max_size=600))
    if kind == "TIFF":
        lossy = ["group3", "group4"] if image.mode == "1" else ["jpeg"] if image.mode in ("L", "RGB", "CMYK") else []
        lossless = [None, "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate"]
        options = {"compression": draw(st.sampled_from([*lossless, *lossy])), "strip_size": draw(st.integers(1, 2000))}
        options |= {"tiffinfo": {0x010E: draw(TEXT)}, "icc_profile": draw(BYTES)}
    if kind == "JPEG":
        options["progressive"] = draw(st.booleans())
    return kind, file_bytes(image, kind, **options)


def pixels(data: bytes, kind: str) -> bytes:
    with Image.open(io.BytesIO(data), formats=["HEIF" if kind == "HEIC" else kind]) as image:
        return image.tobytes() if image.mode.startswith("I;16") else image.convert("RGBA").tobytes()


@FUZZ
@given(files())
def test_the_picture_stays_as_it_is(file: tuple[ImageFormat, bytes]) -> None:
    kind, data = file
    essence = WALKS[kind](data)
    assert pixels(essence.data, kind) == pixels(data, kind)
    assert declared_size(essence.data, kind) == declared_size(data, kind)
    assert essence.ended


@pytest.mark.parametrize("kind", [kind for kind in MODES if kind not in ("JPEG", "TIFF")])
def test_a_plain_file_is_not_copied(kind: ImageFormat) -> None:
    data = file_bytes(gradient(), kind)
    assert WALKS[kind](data).data is data


def test_a_jpeg_of_a_camera_is_copied_without_what_the_camera_says() -> None:
    plain = file_bytes(gradient(), "JPEG")
    assert WALKS["JPEG"](plain).data is plain
    noted = file_bytes(gradient(), "JPEG", exif=b"Exif\0\0x", comment=b"x", xmp=b"x", icc_profile=b"x" * 70_000)
    assert WALKS["JPEG"](noted).data == plain


ANIMATED = {"save_all": True, "append_images": [gradient("L").convert("RGB")]}
SAMPLES = {
    kind: [file_bytes(gradient(), kind), file_bytes(gradient(), kind, **({} if kind in ("JPEG", "BMP") else ANIMATED))]
    for kind in MODES
}


@FUZZ
@given(
    st.sampled_from(list(MODES)),
    st.integers(0, 1),
    st.lists(st.tuples(st.integers(0, 3000), st.binary(max_size=6), st.integers(0, 6)), max_size=6),
)
def test_a_damaged_file_is_walked_or_refused(
    kind: ImageFormat, which: int, changes: list[tuple[int, bytes, int]]
) -> None:
    data = SAMPLES[kind][which]
    for place, patch, removed in changes:
        at = place % len(data)
        data = data[:at] + patch + data[at + removed :]
    try:
        essence = WALKS[kind](data)
    except (ValueError, IndexError, KeyError, struct.error):
        return
    assert len(essence.data) <= len(data) + 2_000 or kind == "BMP"
