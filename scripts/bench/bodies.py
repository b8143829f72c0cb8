"""Requests of ours as bytes, made as they are needed."""

import itertools
import json
from collections.abc import Iterator, Sequence

from bench.pictures import data_url

MATCH = "/v1/match"
EMBEDDINGS = "/v1/embeddings"
CHAT = "/v1/chat/completions"
START, COMMENT = b"\xff\xd8", b"\xff\xfe"
"""JPEG's markers of a file's start and of a comment."""


def match_body(pictures: Sequence[bytes], captions: Sequence[str]) -> bytes:
    """For ITM probabilities of all pairs."""
    return json.dumps({"images": list(map(data_url, pictures)), "captions": captions, "scores": ["itm"]}).encode()


def embed_body(inputs: Sequence[bytes | str], tier: str | None = None) -> bytes:
    """For unit vectors of pictures and texts, in a service tier."""
    given = [each if isinstance(each, str) else data_url(each) for each in inputs]
    return json.dumps({"input": given} | ({} if tier is None else {"service_tier": tier})).encode()


def caption_body(picture: bytes, tokens: int, *, beams: int = 1, stream: bool = True) -> bytes:
    """For a caption of so many tokens."""
    image = {"type": "image_url", "image_url": {"url": data_url(picture)}}
    messages = [{"role": "user", "content": [image]}]
    length = {"max_tokens": tokens, "min_tokens": tokens}
    return json.dumps({"messages": messages, "num_beams": beams, "stream": stream} | length).encode()


def known(pictures: Sequence[bytes], captions: Sequence[str]) -> Iterator[bytes]:
    """Pairs without end, of the same pictures over and over."""
    bodies = [match_body([picture], [caption]) for picture, caption in zip(pictures, captions, strict=True)]
    return itertools.cycle(bodies)


def unknown(pictures: Iterator[bytes], captions: Sequence[str]) -> Iterator[bytes]:
    """Pairs without end, of pictures met once."""
    return (match_body([picture], [caption]) for picture, caption in zip(pictures, itertools.cycle(captions)))


class Fresh:
    """Pictures without end, each with a comment of its own in the file: no cache knows them, all are decoded anew.

    Faster than drawing them, which would take the server's time.
    """

    def __init__(self, pictures: Sequence[bytes]) -> None:
        self._pictures = itertools.cycle(pictures)
        self._numbers = itertools.count()

    def __iter__(self) -> "Fresh":
        return self

    def __next__(self) -> bytes:
        comment = f"{next(self._numbers):012d}".encode()
        segment = COMMENT + (len(comment) + 2).to_bytes(2) + comment
        return START + segment + next(self._pictures).removeprefix(START)
