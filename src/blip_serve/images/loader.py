"""An image reference to the file's bytes and their digest. Knows no formats and decodes nothing."""

import asyncio
import hashlib
from concurrent.futures import Executor
from copy import copy

from blip_serve.domain import ImageBytes
from blip_serve.images.fetch import Fetcher
from blip_serve.images.reference import (
    Base64Image,
    BytesImage,
    ImageSource,
    UnreadableImage,
    UrlImage,
    decode_base64,
    empty_image,
    too_many_bytes,
)
from blip_serve.settings import ImageSettings

SMALL = 256 * 1024
"""Bytes, or characters of base64, that are decoded and digested (in 0.3 ms) sooner than a thread wakes up for it."""


class ImageLoader:
    """Brings images in, wherever they are; `executor`'s threads do what takes long. The caller owns the executor."""

    def __init__(self, fetcher: Fetcher, settings: ImageSettings, executor: Executor) -> None:
        self._fetcher = fetcher
        self._max_bytes = settings.max_bytes
        self._executor = executor

    async def load(self, source: ImageSource, here: bool = False) -> ImageBytes:
        """The bytes of `source`, at least one and at most `settings.max_bytes`.

        `here`: what is `SMALL` is worked on at once, on the event loop; for one image of a request, not for hundreds.

        Raises `InvalidInput`: `empty_image`, `image_too_large`, `invalid_base64`, `Fetcher.fetch`'s, and an
        `UnreadableImage`'s own.
        """
        if isinstance(source, UnreadableImage):
            raise copy(source.error)  # less its traceback, which would hold the request
        if isinstance(source, UrlImage):
            source = BytesImage(await self._fetcher.fetch(source.url, source.param), source.param)
        size = len(source.text if isinstance(source, Base64Image) else source.data)
        if here and size <= SMALL:
            return _seal(source, self._max_bytes)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, _seal, source, self._max_bytes)

    async def aclose(self) -> None:
        """Closes the fetcher."""
        await self._fetcher.aclose()


def _seal(source: Base64Image | BytesImage, max_bytes: int) -> ImageBytes:
    data = decode_base64(source, max_bytes) if isinstance(source, Base64Image) else source.data
    if not data:
        raise empty_image(source.param)
    if len(data) > max_bytes:
        raise too_many_bytes(max_bytes, source.param)
    return ImageBytes(data, hashlib.sha256(data).hexdigest(), source.param)
