"""What a sink needs to know of a picture that it writes. Knows no sink."""

from collections.abc import Mapping
from types import MappingProxyType

from blip_serve.domain import ImageFormat
from blip_serve.errors import InvalidInput
from blip_serve.images.header import HEAD_BYTES, sniff
from blip_serve.images.reference import BytesImage

_EXTENSIONS: Mapping[ImageFormat, str] = MappingProxyType({"JPEG": "jpg"})
"""Those that are not the format's own name."""


def extension(picture: BytesImage) -> str:
    """The ending by the picture's first bytes, such as `jpg`, whatever its name was.

    Raises `InvalidInput`: `unsupported_image_format`.
    """
    kind = sniff(picture.data[:HEAD_BYTES])
    if kind is None:
        message = "The row's picture is of a format that the service does not know."
        raise InvalidInput(message, code="unsupported_image_format", param=picture.param)
    return _EXTENSIONS.get(kind, kind.lower())
