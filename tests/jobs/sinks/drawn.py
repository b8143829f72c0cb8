"""Small pictures that sinks write."""

import io

from PIL import Image

from blip_serve.images.reference import BytesImage


def drawn(kind: str = "JPEG", color: str = "red", size: tuple[int, int] = (8, 6)) -> BytesImage:
    """The bytes of a picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, kind)
    return BytesImage(file.getvalue(), "image")
