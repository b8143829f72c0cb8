"""Pictures made small enough to show."""

from PIL import Image

from blip_serve.domain import ImageBytes
from blip_serve.images.decode import Decoder


def thumbnail(decoder: Decoder, data: bytes, side: int, param: str) -> Image.Image:
    """The picture in a file's bytes, upright, in RGB, its longest side at most `side` pixels.

    `param` names it in errors. Raises what `Decoder.open` raises.
    """
    with decoder.open(ImageBytes(data, "", param)) as picture:
        picture.thumbnail((side, side))
        return picture.copy()
