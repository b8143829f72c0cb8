"""Servers asked over HTTP with a plain client and keep-alive: ours by its API, (b) and (c) by theirs."""

from base64 import b64encode
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import httpx

from bench.pictures import data_url

T = TypeVar("T")
R = TypeVar("R")
TIMEOUT_S = 600


def match(client: httpx.Client, pictures: Sequence[bytes], captions: Sequence[str]) -> list[float]:
    """Of ours: ITM probabilities, by picture, then by caption."""
    images = [data_url(picture) for picture in pictures]
    body = {"images": images, "captions": list(captions), "scores": ["itm"]}
    return [match["itm_score"] for match in _post(client, "/v1/match", body)["data"]]


def embed(client: httpx.Client, inputs: Sequence[bytes | str]) -> list[list[float]]:
    """Of ours: unit vectors of pictures and texts."""
    given = [each if isinstance(each, str) else data_url(each) for each in inputs]
    return [found["embedding"] for found in _post(client, "/v1/embeddings", {"input": given})["data"]]


def caption(client: httpx.Client, picture: bytes, tokens: int, beams: int) -> str:
    """Of ours: a caption of exactly `tokens` tokens. Raises where it has another length."""
    image = {"type": "image_url", "image_url": {"url": data_url(picture)}}
    body = {
        "messages": [{"role": "user", "content": [image]}],
        "max_tokens": tokens,
        "min_tokens": tokens,
        "num_beams": beams,
    }
    answer = _post(client, "/v1/chat/completions", body)
    if answer["usage"]["completion_tokens"] != tokens:
        raise RuntimeError(f"{tokens} tokens were asked for: {answer}")
    text: str = answer["choices"][0]["message"]["content"]
    return text


def predict(client: httpx.Client, picture: bytes, **fields: Any) -> Any:
    """Of (b) and (c): what they answer."""
    return _post(client, "/predict", {"image": b64encode(picture).decode(), **fields})


class Clients(Generic[T, R]):
    """Clients of one server, each with a thread and a connection of its own, that ask all at once."""

    def __init__(self, url: str, count: int, ask: Callable[[httpx.Client, T], R]) -> None:
        self._ask = ask
        self._connections = [httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False) for _ in range(count)]
        self._threads = ThreadPoolExecutor(count)

    def __call__(self, asked: Sequence[T]) -> list[R]:
        """The answers to `asked`, one a client; of more clients the rest is idle."""
        return list(self._threads.map(self._ask, self._connections, asked))


def _post(client: httpx.Client, path: str, body: dict[str, Any]) -> Any:
    response = client.post(path, json=body)
    response.raise_for_status()
    return response.json()
