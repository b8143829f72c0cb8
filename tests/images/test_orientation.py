import struct

import pytest
from PIL import Image

from blip_serve.images.orientation import upright

from .samples import gradient

# As in production (`cli`): what Pillow thinks of damaged EXIF data concerns nobody.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

PICTURE = gradient()
BROKEN = b"II*\0\x08\0\0\0\xff\xff" + b"\x12\1\5\0" * 40


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


@pytest.mark.parametrize("form", [b'<x tiff:Orientation="%d"/>', b"<tiff:Orientation>%d</tiff:Orientation>"])
def test_xmp_is_obeyed_where_exif_data_say_nothing(form: bytes) -> None:
    for data in (b"", b"Exif\0\0", BROKEN, b"MM\0*"):
        assert upright(PICTURE, data, form % 6).tobytes() == PICTURE.transpose(Image.Transpose.ROTATE_270).tobytes()


def test_exif_data_come_first() -> None:
    assert upright(PICTURE, exif(3), b'tiff:Orientation="6"').tobytes() == PICTURE.rotate(180).tobytes()
    assert upright(PICTURE, exif(1), b'tiff:Orientation="6"') is PICTURE


@pytest.mark.parametrize("xmp", [b"", b'tiff:Orientation="0"', b'tiff:Orientation="9"', b"tiff:Orientation"])
def test_what_means_nothing_turns_nothing(xmp: bytes) -> None:
    assert upright(PICTURE, b"", xmp) is PICTURE
    assert upright(PICTURE, exif(9), xmp) is PICTURE


def test_only_the_beginning_of_exif_data_is_looked_at() -> None:
    entry = struct.pack("<HHHLLL", 1, 0x0112, 3, 1, 6, 0)
    near, far = (b"II*\0" + struct.pack("<L", at) + bytes(at - 8) + entry for at in (60_000, 70_000))
    assert upright(PICTURE, near, b"") is not PICTURE
    assert upright(PICTURE, far, b"") is PICTURE
