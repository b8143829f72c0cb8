"""Loads the bytes of an image and computes their digest. Knows no image formats."""

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
"""Bytes, or characters of base64. To read so few takes 0.3 ms, less than to wake up a thread."""


class ImageLoader:
    """Loads images from any source. Long calls run on `executor`, which the caller owns and closes."""

    def __init__(self, fetcher: Fetcher, settings: ImageSettings, executor: Executor) -> None:
        self._fetcher = fetcher
        self._max_bytes = settings.max_bytes
        self._executor = executor

    async def load(self, source: ImageSource, here: bool = False) -> ImageBytes:
        """The bytes of `source`: at least one, at most `settings.max_bytes`.

        `here`: process a `SMALL` image on the event loop, without a thread. Set it for one image of a request only.

        Raises `InvalidInput`: `empty_image`, `image_too_large`, `invalid_base64`, those of `Fetcher.fetch`, and the
        error of an `UnreadableImage`.
        """
        if isinstance(source, UnreadableImage):
            raise copy(source.error)  # without its traceback, which would keep the request in memory
        if isinstance(source, UrlImage):
            source = BytesImage(await self._fetcher.fetch(source.url, source.param), source.param)
        size = len(source.text if isinstance(source, Base64Image) else source.data)
        if here and size <= SMALL:
            return _checked(source, self._max_bytes)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, _checked, source, self._max_bytes)

    async def aclose(self) -> None:
        """Closes the fetcher."""
        await self._fetcher.aclose()


def _checked(source: Base64Image | BytesImage, max_bytes: int) -> ImageBytes:
    data = decode_base64(source, max_bytes) if isinstance(source, Base64Image) else source.data
    if not data:
        raise empty_image(source.param)
    if len(data) > max_bytes:
        raise too_many_bytes(max_bytes, source.param)
    return ImageBytes(data, hashlib.sha256(data).hexdigest(), source.param)
