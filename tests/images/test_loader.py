import asyncio
import base64
import ssl
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from hashlib import sha256

import pytest

from blip_serve.domain import ImageBytes
from blip_serve.images import loader
from blip_serve.images.fetch import Fetcher
from blip_serve.images.loader import SMALL, ImageLoader
from blip_serve.images.reference import Base64Image, BytesImage, ImageSource, UrlImage
from blip_serve.settings import FetchSettings, ImageSettings

from .origin import respond, serving
from .refusals import refused

DATA = b"the bytes of an image"
PARAM = "images[1]"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


async def home(host: str) -> Sequence[str]:
    return ["127.0.0.1"]


@asynccontextmanager
async def loading(body: bytes = DATA, limit: int = 100) -> AsyncIterator[tuple[ImageLoader, str]]:
    """A loader, and a URL where `body` is to be had."""
    async with serving({"/image": respond(body)}) as origin:
        ports = frozenset({origin.port})
        fetcher = Fetcher(FetchSettings(), limit, allow=lambda _: True, ports=ports, resolve=home, tls=NO_TLS)
        with ThreadPoolExecutor(1, thread_name_prefix="images") as executor:
            images = ImageLoader(fetcher, ImageSettings(max_bytes=limit), executor)
            yield images, f"http://pictures.test:{origin.port}/image"
            await images.aclose()


def load(source: ImageSource, here: bool = False, **options: int) -> ImageBytes:
    async def run() -> ImageBytes:
        async with loading(**options) as (images, _):  # type: ignore[arg-type]
            return await images.load(source, here)

    return asyncio.run(run())


def load_url(body: bytes, limit: int = 100) -> ImageBytes:
    async def run() -> ImageBytes:
        async with loading(body, limit) as (images, url):
            return await images.load(UrlImage(url, PARAM))

    return asyncio.run(run())


def test_the_same_bytes_have_one_digest_wherever_they_come_from() -> None:
    expected = ImageBytes(DATA, sha256(DATA).hexdigest(), PARAM)
    assert load(Base64Image(base64.encodebytes(DATA).decode(), PARAM)) == expected
    assert load(BytesImage(DATA, PARAM)) == expected
    assert load_url(DATA) == expected


def test_empty_images_are_refused() -> None:
    with refused("empty_image"):
        load(BytesImage(b"", PARAM))
    with refused("empty_image"):
        load_url(b"")


def test_images_over_the_byte_limit_are_refused() -> None:
    with refused("image_too_large"):
        load(BytesImage(bytes(101), PARAM))
    with refused("image_too_large"):
        load(Base64Image(base64.b64encode(bytes(101)).decode(), PARAM))
    with refused("image_too_large"):
        load_url(bytes(101))


def test_images_of_exactly_the_byte_limit_are_taken() -> None:
    assert len(load(BytesImage(bytes(100), PARAM)).data) == 100
    assert len(load_url(bytes(100)).data) == 100


def test_bad_base64_is_refused() -> None:
    with refused("invalid_base64"):
        load(Base64Image("not base64!", PARAM))


@pytest.mark.parametrize(
    ("characters", "here", "thread"),
    [(4, False, "images"), (4, True, "MainThread"), (SMALL, True, "MainThread"), (SMALL + 4, True, "images")],
)
def test_heavy_work_happens_on_the_executors_threads(
    monkeypatch: pytest.MonkeyPatch, characters: int, here: bool, thread: str
) -> None:
    """All but the one small image that may be worked on at once."""
    threads: list[str] = []

    def watched(image: Base64Image, max_bytes: int) -> bytes:
        threads.append(threading.current_thread().name)
        return DATA

    monkeypatch.setattr(loader, "decode_base64", watched)
    load(Base64Image("Q" * characters, PARAM), here=here)
    assert threads[0].startswith(thread)


def test_closing_the_loader_closes_the_fetcher() -> None:
    closed: list[bool] = []

    class Closing(Fetcher):
        async def aclose(self) -> None:
            closed.append(True)
            await super().aclose()

    async def run() -> None:
        with ThreadPoolExecutor(1) as executor:
            await ImageLoader(Closing(FetchSettings(), 1), ImageSettings(), executor).aclose()

    asyncio.run(run())
    assert closed == [True]
