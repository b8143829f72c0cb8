"""Sends requests with the same image to the same replica, which may have it in its image cache."""

import zlib
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from blip_serve.images.reference import Base64Image, BytesImage, ImageSource, UnreadableImage, UrlImage

HEAD_CHARS = 64 * 1024


def affinity(request: Any) -> str:
    """A key for the request's first image, or `""` without one. The router sends equal keys to one replica.

    The key is made from the image's first bytes and its length. Two images with the same key only share a replica.
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
