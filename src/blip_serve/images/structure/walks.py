"""Which walk goes over which format. Decodes no pixels."""

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
"""Each takes a file whose declared size was checked. It raises whatever it likes for one that is damaged."""
