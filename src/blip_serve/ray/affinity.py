"""Which replica may have a request's image encoded already: the one that had it last."""

import zlib
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from blip_serve.images.reference import Base64Image, BytesImage, ImageSource, UnreadableImage, UrlImage

HEAD_CHARS = 64 * 1024


def affinity(request: Any) -> str:
    """A key of the request's first image, and nothing where it has none; for a router that sends like keys one way.

    Made of the image's beginning and length. Where two images share these, they share a replica, and no more.
    """
    for image in _images(request):
        match image:
            case Base64Image(text=content) | UrlImage(url=content):
                head, length = content[:HEAD_CHARS].encode(), len(content)
            case BytesImage(data=data):
                head, length = data[:HEAD_CHARS], len(data)
            case UnreadableImage():
                continue
        return f"{zlib.crc32(head):x}-{length:x}"
    return ""


def _images(request: Any) -> Iterator[ImageSource]:
    for field in fields(request):
        value = getattr(request, field.name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, ImageSource):
                yield part
