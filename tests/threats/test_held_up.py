"""Row 81: an image that hangs in a decoder delays only its own caller, and only until the request's deadline."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import httpx
import pytest
from PIL import Image

from blip_serve.domain import ImageBytes
from blip_serve.keys import digest
from blip_serve.models.fake import FakeModel
from tests.support.errors import check
from tests.support.pictures import data_uri, encoded, picture
from tests.support.server import Service, always, fake_settings, serving
from tests.support.waiting import WAIT_S, wait_until

KEYS = {"keys": tuple({"name": name, "sha256": digest(name)} for name in ("good", "bad"))}
POISON = {sha256(encoded(image)).hexdigest(): image for image in map(picture, range(6))}
KNOWN, SMALL = picture(100), picture(101)


class HeldDecoder:
    """Holds the images of `POISON` until it is let go; `held` are their digests."""

    def __init__(self) -> None:
        self.held: list[str] = []
        self.open = threading.Event()

    def __call__(self, image: ImageBytes) -> None:
        if image.digest in POISON:
            self.held.append(image.digest)
            self.open.wait(WAIT_S)


@contextmanager
def held_up(**server: Any) -> Iterator[tuple[Service, HeldDecoder, "list[httpx.Response]"]]:
    """Inside, a caller has sent six images that no decoder comes back from; the list has the answers afterwards."""
    decoder = HeldDecoder()
    model = FakeModel("match", "embed", "caption", on_decode=decoder)
    answers: list[httpx.Response] = []
    with serving(fake_settings(auth=KEYS, server=server), always(model)) as service, ThreadPoolExecutor(6) as clients:
        assert match(service, KNOWN, "good").status_code == 200
        for image in POISON.values():
            clients.submit(lambda image=image: answers.append(match(service, image, "bad")))  # type: ignore[misc]
        wait_until(lambda: len(decoder.held) >= 2)
        try:
            yield service, decoder, answers
        finally:
            decoder.open.set()


def match(service: Service, image: Image.Image, key: str) -> httpx.Response:
    return ask(service, "/v1/match", {"image": data_uri(image), "caption": "a dog"}, key)


def ask(service: Service, path: str, body: dict[str, Any], key: str) -> httpx.Response:
    return httpx.post(service.url + path, json=body, headers={"authorization": f"Bearer {key}"}, timeout=WAIT_S)


def test_row81_no_known_image_no_text_and_no_other_callers_image_waits() -> None:
    with held_up() as (service, decoder, answers):
        for _ in range(3):
            assert match(service, KNOWN, "good").status_code == 200
            assert match(service, KNOWN, "bad").status_code == 200
        assert ask(service, "/v1/embeddings", {"input": ["a dog", "a cat"]}, "bad").status_code == 200
        for seed in range(200, 210):
            assert match(service, picture(seed), "good").status_code == 200
        assert httpx.get(f"{service.url}/readyz").status_code == 200
        assert len(decoder.held) == 2
        assert answers == []
    assert [answer.status_code for answer in answers] == [200] * 6


def test_row81_the_caller_himself_waits_until_the_deadline_only() -> None:
    with held_up(request_timeout_s=1) as (service, decoder, answers):
        wait_until(lambda: len(answers) == 6)
        for answer in answers:
            check(answer, 503, "deadline_exceeded", None)
        assert len(decoder.held) < 6  # those whose time ran out while they waited never began
        assert match(service, SMALL, "bad").status_code == 200


@pytest.mark.parametrize("key", ["good", "bad"])
def test_row81_the_same_image_waits_on_no_thread(key: str) -> None:
    with held_up() as (service, decoder, _), ThreadPoolExecutor(3) as clients:
        same = [clients.submit(match, service, POISON[decoder.held[0]], key) for _ in range(3)]
        assert match(service, SMALL, "good").status_code == 200
        assert len(decoder.held) == 2
        decoder.open.set()
        assert [each.result(WAIT_S).status_code for each in same] == [200] * 3
