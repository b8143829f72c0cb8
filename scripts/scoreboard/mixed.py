"""Requests of every kind to the embedded checkpoints: good ones, wrong ones, and clients that leave."""

import asyncio
import base64
import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable

import httpx

from bench.bodies import Fresh
from tests.support.pictures import encoded, picture

PICTURES = 32
CAPTIONS = ("a red circle", "a blue square", "two green stars", "a small yellow ring beside a black cross")
LEAVE_S = 0.02
PATIENCE_S = 30.0

Ask = Callable[[httpx.AsyncClient, "Mixed"], Awaitable[int]]


class Mixed:
    """Clients that send random requests from a seed, one after the other. Counts the answers."""

    def __init__(self, url: str, seed: int) -> None:
        self.url = url
        self.statuses: Counter[str] = Counter()
        self.generator = random.Random(seed)
        self._pictures = Fresh([encoded(picture(i, 160, 120), "jpeg") for i in range(PICTURES)])
        self._known = list(itertools.islice(self._pictures, PICTURES))

    def picture(self) -> bytes:
        """A file, every other time one that the service has not seen."""
        return next(self._pictures) if self.generator.random() < 0.5 else self.generator.choice(self._known)

    def uri(self) -> str:
        """The same for JSON."""
        return "data:image/jpeg;base64," + base64.b64encode(self.picture()).decode()

    async def load(self, clients: int, seconds: float) -> None:
        """So many clients for so long, each on connections of its own; afterwards none is open."""
        ended = asyncio.Event()
        asyncio.get_running_loop().call_later(seconds, ended.set)
        await asyncio.gather(*(self._client(ended) for _ in range(clients)))

    async def _client(self, ended: asyncio.Event) -> None:
        async with httpx.AsyncClient(base_url=self.url, timeout=PATIENCE_S, trust_env=False) as client:
            while not ended.is_set():
                ask = self.generator.choice(KINDS)
                status = await ask(client, self)
                self.statuses[f"{ask.__name__} {status}"] += 1


async def match(client: httpx.AsyncClient, mixed: Mixed) -> int:
    """One to four pictures against captions."""
    images = [mixed.uri() for _ in range(mixed.generator.randint(1, 4))]
    return (await client.post("/v1/match", json={"images": images, "captions": CAPTIONS})).status_code


async def form(client: httpx.AsyncClient, mixed: Mixed) -> int:
    """An upload."""
    files = {"image": ("a.jpg", mixed.picture(), "image/jpeg")}
    return (await client.post("/v1/match", files=files, data={"caption": list(CAPTIONS)})).status_code


async def embed(client: httpx.AsyncClient, mixed: Mixed) -> int:
    """Of pictures and texts."""
    inputs = [{"image": mixed.uri()}, *CAPTIONS]
    return (await client.post("/v1/embeddings", json={"input": inputs})).status_code


async def rerank(client: httpx.AsyncClient, mixed: Mixed) -> int:
    """Captions of a picture."""
    body = {"query": {"image": mixed.uri()}, "documents": CAPTIONS}
    return (await client.post("/v2/rerank", json=body)).status_code


async def stream(client: httpx.AsyncClient, mixed: Mixed) -> int:
    """A caption, word by word."""
    async with client.stream("POST", "/v1/chat/completions", json=_chat(mixed)) as answer:
        said = b"".join([piece async for piece in answer.aiter_bytes()])
        return answer.status_code if said.endswith(b"data: [DONE]\n\n") else 0


async def broken(client: httpx.AsyncClient, mixed: Mixed) -> int:
    """A picture that is cut off."""
    files = {"image": ("a.jpg", mixed.picture()[:-400][:2000], "image/jpeg")}
    return (await client.post("/v1/match", files=files, data={"caption": "a"})).status_code


async def wrong(client: httpx.AsyncClient, mixed: Mixed) -> int:
    """Something that cannot be answered."""
    body = mixed.generator.choice(
        [
            {"image": "!", "caption": "a"},
            {"image": mixed.uri()},
            {"model": "none", "image": mixed.uri(), "caption": "a"},
        ]
    )
    return (await client.post("/v1/match", json=body)).status_code


async def leave(client: httpx.AsyncClient, mixed: Mixed) -> int:
    """A client that does not wait for its words."""
    try:
        async with asyncio.timeout(LEAVE_S * mixed.generator.random()):
            return await stream(client, mixed)
    except TimeoutError:
        return 0


def _chat(mixed: Mixed) -> dict[str, object]:
    image = {"type": "image_url", "image_url": {"url": mixed.uri()}}
    messages = [{"role": "user", "content": [image]}]
    return {"model": "blip-serve/demo-captioning", "messages": messages, "stream": True, "max_tokens": 20}


KINDS: tuple[Ask, ...] = (match, match, form, form, embed, rerank, stream, stream, broken, wrong, leave)
EXPECTED = {
    **{kind.__name__: {200} for kind in (match, form, embed, rerank, stream)},
    "broken": {200, 400},
    "wrong": {400, 404},
    "leave": {0, 200},
}
"""The statuses allowed for each kind of request. 0: the client itself left."""


def unexpected(statuses: Counter[str]) -> int:
    """Answers that were none of these."""
    return sum(times for name, times in statuses.items() if int(name.split()[1]) not in EXPECTED[name.split()[0]])
