"""The walk for each format. Decodes no pixels."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from blip_serve.domain import ImageFormat
from blip_serve.images.structure import avif, bmp, gif, heic, jpeg, png, tiff, webp
from blip_serve.images.structure.essence import Essence

WALKS: Mapping[ImageFormat, Callable[[bytes], Essence]] = MappingProxyType(
    {
        "PNG": png.essence,
        "JPEG": jpeg.essence,
        "WEBP": webp.essence,
        "GIF": gif.essence,
        "BMP": bmp.essence,
        "AVIF": avif.essence,
        "TIFF": tiff.essence,
        "HEIC": heic.essence,
    }
)
"""Check the declared size before a walk. A walk may raise any exception for a damaged file."""
