"""Loads the pictures of rows: files, URLs, bytes. Each within the bound on the bytes of one picture."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from copy import copy

from blip_serve.errors import InvalidInput
from blip_serve.images.fetch import Fetcher
from blip_serve.images.reference import BytesImage, UnreadableImage, UrlImage, empty_image, too_many_bytes
from blip_serve.jobs.rows import FilePicture, Picture
from blip_serve.jobs.sources.files import open_file, size_of
from blip_serve.jobs.sources.storage import StorageFailed
from blip_serve.settings import ImageSettings

FIELD = "image"
"""What errors of a file name as their field."""
READERS = 4
"""Files read at once."""


class Pictures:
    """Loads pictures of at most `settings.max_bytes`. Files are read on `executor`. URLs are fetched by `fetcher`,
    which reaches no private address. The caller closes both.
    """

    def __init__(self, fetcher: Fetcher, settings: ImageSettings, executor: Executor) -> None:
        self._fetcher = fetcher
        self._max_bytes = settings.max_bytes
        self._executor = executor

    async def load(self, picture: Picture) -> BytesImage:
        """The bytes of a picture: at least one.

        Raises `InvalidInput`: `empty_image`, `image_too_large`, `file_not_readable`, `storage_failed`, those of
        `Fetcher.fetch`, and the error of an `UnreadableImage`.
        """
        if isinstance(picture, UnreadableImage):
            raise copy(picture.error)  # without its traceback, which would keep the row in memory
        if isinstance(picture, FilePicture):
            loop = asyncio.get_running_loop()
            picture = await loop.run_in_executor(self._executor, _read, picture.path, self._max_bytes)
        elif isinstance(picture, UrlImage):
            picture = BytesImage(await self._fetcher.fetch(picture.url, picture.param), picture.param)
        if not picture.data:
            raise empty_image(picture.param)
        if len(picture.data) > self._max_bytes:
            raise too_many_bytes(self._max_bytes, picture.param)
        return picture


@asynccontextmanager
async def open_pictures(settings: ImageSettings) -> AsyncIterator[Pictures]:
    """Pictures with a fetcher and threads of their own."""
    fetcher = Fetcher(settings.fetch, settings.max_bytes)
    with ThreadPoolExecutor(READERS, "reader") as readers:
        try:
            yield Pictures(fetcher, settings, readers)
        finally:
            await fetcher.aclose()


def _read(path: str, max_bytes: int) -> BytesImage:
    """A file of up to `max_bytes`; of one that is larger, a byte more at most."""
    try:
        with open_file(path) as file:
            if size_of(path) > max_bytes:
                raise too_many_bytes(max_bytes, FIELD)
            return BytesImage(file.read(max_bytes + 1), FIELD)
    except StorageFailed as error:
        raise InvalidInput(
            f"The picture's storage failed: {error.strerror}.", code="storage_failed", param=FIELD
        ) from None
    except (OSError, ValueError) as error:  # `ValueError`: a path with a character NUL
        reason = getattr(error, "strerror", None) or "not a file"
        raise InvalidInput(
            f"The picture's file cannot be read: {reason}.", code="file_not_readable", param=FIELD
        ) from None
