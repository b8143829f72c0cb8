import io
import struct

import pytest
from PIL import Image

from blip_serve.images.structure import avif, webp
from blip_serve.images.structure.essence import MAX_STEPS
from tests.images.samples import avif_of_items, file_bytes, gradient

AVIF = file_bytes(gradient(), "AVIF")
SEQUENCE = file_bytes(gradient(), "AVIF", save_all=True, append_images=[gradient("L").convert("RGB")] * 3)


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x010E] = "a picture"
    tags[0x0112] = orientation
    return tags


def test_chunks_of_a_webp_are_bounded() -> None:
    data = file_bytes(gradient(), "WEBP")
    assert webp.essence(data + b"abcd\0\0\0\0" * (MAX_STEPS - 2)).data[: len(data)] == data
    with pytest.raises(ValueError, match="too many"):
        webp.essence(data + b"abcd\0\0\0\0" * MAX_STEPS)


def test_items_are_bounded() -> None:
    few = avif_of_items(1_000)
    assert avif.essence(few).data is few
    assert Image.open(io.BytesIO(few)).convert("RGB").size == (31, 17)
    with pytest.raises(ValueError, match="items"):
        avif.essence(avif_of_items(2_000))


def test_boxes_are_bounded() -> None:
    box = struct.pack(">I4s", 8, b"free")
    assert avif.essence(AVIF + box * 9_000).data[: len(AVIF)] == AVIF
    with pytest.raises(ValueError, match="boxes"):
        avif.essence(AVIF + box * 10_000)


@pytest.mark.parametrize("depth", [9_000, 11_000])
def test_boxes_in_boxes_are_bounded(depth: int) -> None:
    nested = b"".join(struct.pack(">I4s", 8 * (depth - n), b"moov") for n in range(depth))
    if depth < 10_000:
        avif.essence(nested)
    else:
        with pytest.raises(ValueError, match="boxes"):
            avif.essence(nested)


def test_samples_are_bounded() -> None:
    assert avif.essence(SEQUENCE).data is SEQUENCE
    at = SEQUENCE.index(b"stsc") + 16
    with pytest.raises(ValueError, match="samples"):
        avif.essence(SEQUENCE[:at] + (250_001).to_bytes(4) + SEQUENCE[at + 4 :])
    with pytest.raises(ValueError, match="chunks"):
        avif.essence(SEQUENCE[: at - 8] + b"\xff\xff\xff\xff" + SEQUENCE[at - 4 :])


def test_a_box_of_64_bits_is_passed_over() -> None:
    long = struct.pack(">I4sQ", 1, b"free", 20) + b"data"
    assert list(avif.boxes(long + AVIF[:32])) == [
        avif.Box(b"free", 16, 20),
        avif.Box(b"ftyp", 28, 20 + int.from_bytes(AVIF[:4])),
    ]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_data_of_an_avif_are_taken_away_and_its_orientation_is_not(orientation: int) -> None:
    data = file_bytes(gradient(), "AVIF", exif=exif(orientation))
    before, after = (Image.open(io.BytesIO(file)).getexif() for file in (data, avif.essence(data).data))
    assert (before[0x010E], before.get(0x0112, 1)) == ("a picture", orientation)
    assert (0x010E in after, after.get(0x0112, 1)) == (False, orientation)


def test_xmp_of_an_avif_is_taken_away_with_its_exif_data_only() -> None:
    xmp = b'<x tiff:Orientation="3"/>'
    alone, beside = (file_bytes(gradient(), "AVIF", xmp=xmp, **more) for more in ({}, {"exif": exif(6)}))
    assert avif.essence(alone).data is alone
    assert "xmp" not in Image.open(io.BytesIO(avif.essence(beside).data)).info


def test_a_webp_without_loss_is_weighed_with_the_tables_of_its_codes() -> None:
    """A set of codes for 16 pixels takes libwebp 21 kB, and as little as two bytes of the file."""
    noise = Image.effect_noise((100, 50), 50).convert("RGBA")
    noise.putalpha(noise.getchannel("R"))
    lossless, lossy = (file_bytes(noise.convert(mode), "WEBP", lossless=mode == "RGBA") for mode in ("RGBA", "RGB"))
    assert webp.essence(lossless).tables == 21_000 * 25 * 13
    assert webp.essence(lossy).tables == 0
    assert webp.essence(file_bytes(noise, "WEBP")).tables > 0  # its transparency is kept without loss
    tiny = file_bytes(Image.new("RGB", (4000, 4000)), "WEBP", lossless=True)
    assert webp.essence(tiny).tables == 21_000 * (len(tiny) // 2)
