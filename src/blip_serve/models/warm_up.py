"""The picture that models run first, right after their load."""

from io import BytesIO

from PIL import Image

from blip_serve.domain import ImageBytes


def grey_picture() -> ImageBytes:
    """A small grey PNG."""
    file = BytesIO()
    Image.new("RGB", (64, 64), (128, 128, 128)).save(file, "png")
    return ImageBytes(file.getvalue(), "warm-up", "warm-up")
