"""The pictures of rows are loaded within bounds."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from blip_serve.errors import InvalidInput
from blip_serve.images.fetch import Fetcher
from blip_serve.images.reference import BytesImage, UnreadableImage, UrlImage
from blip_serve.jobs.pictures import Pictures
from blip_serve.jobs.rows import FilePicture, Picture
from blip_serve.settings import FetchSettings, ImageSettings
from tests.images.origin import respond
from tests.images.test_fetch import fetching


def load(picture: Picture, max_bytes: int = 100) -> BytesImage:
    """The picture, loaded with no host allowed but public ones."""

    async def run() -> BytesImage:
        with ThreadPoolExecutor(1) as executor:
            fetcher = Fetcher(FetchSettings(), max_bytes)
            pictures = Pictures(fetcher, ImageSettings(max_bytes=max_bytes), executor)
            try:
                return await pictures.load(picture)
            finally:
                await fetcher.aclose()

    return asyncio.run(run())


def refused(picture: Picture) -> str:
    """The code of the error."""
    with pytest.raises(InvalidInput) as caught:
        load(picture)
    assert "/" not in caught.value.message.replace("bytes/", "")  # no path
    return caught.value.code


def test_bytes_and_files_are_loaded(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x" * 100)
    assert load(FilePicture(str(tmp_path / "x"))) == BytesImage(b"x" * 100, "image")
    assert load(BytesImage(b"x", "jpg")) == BytesImage(b"x", "jpg")


def test_what_is_no_file_within_the_bound_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 101)
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    codes = [refused(FilePicture(str(tmp_path / name))) for name in ("large", "empty", "pipe", "gone", "", "a\0b")]
    assert codes == ["image_too_large", "empty_image", *["file_not_readable"] * 4]
    assert refused(FilePicture("/dev/zero")) == "file_not_readable"
    assert refused(BytesImage(b"x" * 101, "jpg")) == "image_too_large"
    assert refused(UnreadableImage(InvalidInput("no", code="path_not_allowed"), "image")) == "path_not_allowed"


def test_urls_are_fetched_by_the_guarded_fetch() -> None:
    async def run() -> BytesImage:
        async with fetching({"/image": respond(b"x")}) as (fetcher, origin):
            with ThreadPoolExecutor(1) as executor:
                url = f"http://pictures.test:{origin.port}/image"
                return await Pictures(fetcher, ImageSettings(), executor).load(UrlImage(url, "url"))

    assert asyncio.run(run()) == BytesImage(b"x", "url")


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest/meta-data/", "http://127.0.0.1/", "http://[::1]/"])
def test_a_private_address_is_not_fetched(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load(UrlImage(url, "url"))
    assert (caught.value.code, caught.value.param) == ("blocked_url", "url")
