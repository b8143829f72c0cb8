"""Which walk goes over which format. Decodes no pixels."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from blip_serve.images.header import ImageFormat
from blip_serve.images.structure import avif, bmp, gif, jpeg, png, webp
from blip_serve.images.structure.essence import Essence

WALKS: Mapping[ImageFormat, Callable[[bytes], Essence]] = MappingProxyType(
    {
        "PNG": png.essence,
        "JPEG": jpeg.essence,
        "WEBP": webp.essence,
        "GIF": gif.essence,
        "BMP": bmp.essence,
        "AVIF": avif.essence,
    }
)
"""Each takes a file whose declared size was checked. It raises whatever it likes for one that is damaged."""
