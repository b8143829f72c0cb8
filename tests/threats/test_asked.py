"""Row 84: a caller sees cached tokens only for images of its own requests."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from blip_serve.keys import digest
from blip_serve.settings import DEMO, DEMO_ANSWERS, DEMO_CAPTIONS
from tests.support.pictures import data_uri, picture
from tests.support.server import Service, serving, settings

SEEDS = itertools.count(8400)
MODELS = (DEMO, DEMO_CAPTIONS, DEMO_ANSWERS)
CHOICE = {"type": "choice", "instructions": "a {} star", "choices": [{"value": "red"}, {"value": "blue"}]}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    keys = tuple({"name": name, "sha256": digest(name)} for name in ("victim", "attacker"))
    with serving(settings(models=MODELS, auth={"keys": keys})) as running:
        yield running


@pytest.fixture(scope="module")
def keyless() -> Iterator[Service]:
    with serving(settings(models=(DEMO,))) as running:
        yield running


def message(image: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": image}}]}]


def asking(image: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "input_image", "image_url": image}]}]


def body_of(path: str, image: str) -> dict[str, Any]:
    bodies: dict[str, dict[str, Any]] = {
        "/v1/match": {"image": image, "caption": "a"},
        "/v1/embeddings": {"input": [image, "a"]},
        "/v1/rerank": {"query": "a", "documents": [image]},
        "/v1/score": {"queries": "a", "documents": {"image": image}},
        "/v1/explain": {"image": image, "caption": "a"},
        "/v1/chat/completions": {"model": "demo-captioning", "messages": message(image)},
        "/v1/responses": {"model": "demo-captioning", "input": asking(image)},
        "/v1/decisions": {"model": "demo-vqa", "input": asking(image), "questions": [CHOICE, CHOICE]},
    }
    return bodies[path]


def cached(service: Service, key: str, path: str, image: str) -> int:
    """What the answer says of cached tokens, wherever it says so."""
    answer = service.client.post(path, json=body_of(path, image), headers={"authorization": f"Bearer {key}"})
    assert answer.status_code == 200, answer.text
    return sum(_cached(answer.json()))


def _cached(value: Any) -> Iterator[int]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from [inner] if key == "cached_tokens" else _cached(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _cached(inner)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(f"/v1/{path}", id=f"row84-{path}")
        for path in ("match", "embeddings", "rerank", "score", "explain", "chat/completions", "responses", "decisions")
    ],
)
def test_a_key_is_told_of_its_own_requests_only(service: Service, path: str) -> None:
    image = data_uri(picture(next(SEEDS)))
    assert cached(service, "victim", path, image) == 0
    assert cached(service, "victim", path, image) > 0
    assert cached(service, "attacker", path, image) == 0
    assert cached(service, "attacker", path, image) > 0
    assert cached(service, "victim", path, image) > 0


def test_row84_the_same_image_twice_in_a_request_tells_no_more(service: Service) -> None:
    image = data_uri(picture(next(SEEDS)))
    body = {"images": [image] * 8, "captions": ["a"]}
    assert cached(service, "victim", "/v1/match", image) == 0
    answer = service.client.post("/v1/match", json=body, headers={"authorization": "Bearer attacker"})
    assert sum(_cached(answer.json())) == 0


def test_row84_an_image_encoded_anew_for_another_is_news_to_who_asked_before() -> None:
    """A caller that pushes an image out of the cache must not see whether another caller has asked for it since."""
    keys = tuple({"name": name, "sha256": digest(name)} for name in ("victim", "attacker"))
    chosen = settings(models=(DEMO,), auth={"keys": keys}, images={"cache_tokens_bytes": 150_000})
    with serving(chosen) as service:
        image, *others = [data_uri(picture(next(SEEDS))) for _ in range(9)]
        assert cached(service, "attacker", "/v1/match", image) == 0
        assert cached(service, "attacker", "/v1/match", image) > 0
        for other in others:
            cached(service, "attacker", "/v1/match", other)
        assert cached(service, "victim", "/v1/match", image) == 0
        misses = service.app.state.telemetry.page()
        assert cached(service, "attacker", "/v1/match", image) == 0
        assert _misses(service.app.state.telemetry.page()) == _misses(misses), "it was not in the cache"


def _misses(page: bytes) -> list[bytes]:
    return [line for line in page.splitlines() if line.startswith(b"blip_serve_image_cache_misses_total")]


def test_without_keys_all_are_one(keyless: Service) -> None:
    image = data_uri(picture(next(SEEDS)))
    assert cached(keyless, "one", "/v1/match", image) == 0
    assert cached(keyless, "other", "/v1/match", image) > 0
