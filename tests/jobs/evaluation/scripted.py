"""Evaluations without a model: an `Ask` whose vectors and logits are drawn, and an `Answering` over it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from blip_serve.domain import Caption, MatchScores
from blip_serve.errors import ServiceError
from blip_serve.images.reference import BytesImage
from blip_serve.jobs.evaluation.answering import Answering, Count
from blip_serve.jobs.evaluation.answers import Answers
from blip_serve.jobs.evaluation.gallery import Entry, Gallery, gallery
from blip_serve.jobs.operators.serving import PAPER
from blip_serve.jobs.pictures import open_pictures
from blip_serve.jobs.rows import FilePicture
from blip_serve.settings import ImageSettings
from blip_serve.tasks.embed import EmbedRequest, EmbedResult
from blip_serve.tasks.match import MatchPair, MatchRequest, MatchResult
from blip_serve.tasks.request import Request, Served, Timings, Usage

R = TypeVar("R")
SERVED = Served(
    model="drawn", protocol="paper", service_tier="default", usage=Usage(0, 0, 0), timings=Timings(0, 0, 0, 0)
)


def vector_of(given: str) -> list[float]:
    """The unit vector of a text, or of the picture whose bytes are `given`."""
    drawn = np.random.default_rng(list(sha256(given.encode()).digest())).standard_normal(6)
    return [float(each) for each in drawn / np.linalg.norm(drawn)]


def logit_of(picture: str, text: str) -> float:
    """The match logit of a pair."""
    return float(vector_of(f"{picture} {text}")[0])


class Drawing:
    """Answers. `requests`: all that it was asked. `fails_at`: the number of the request that fails, from 0."""

    def __init__(self, fails_at: int | None = None, error: ServiceError | None = None) -> None:
        self.requests: list[Request[Any]] = []
        self._fails_at, self._error = fails_at, error

    async def __call__(self, request: Request[R], /) -> R:
        if self._error and len(self.requests) == self._fails_at:
            raise self._error
        self.requests.append(request)
        found: object
        if isinstance(request, EmbedRequest):
            found = EmbedResult(tuple(tuple(vector_of(_given(each))) for each in request.inputs), **SERVED)
        else:
            assert isinstance(request, MatchRequest)
            [image] = request.images
            logits = [logit_of(_given(image), caption.text) for caption in request.captions]
            pairs = [MatchPair(0, i, MatchScores((-logit, logit), 0.5)) for i, logit in enumerate(logits)]
            found = MatchResult(tuple(pairs), **SERVED)
        return cast(R, found)


def _given(each: object) -> str:
    if isinstance(each, Caption):
        return each.text
    assert isinstance(each, BytesImage)
    return each.data.decode()


def drawn_gallery(folder: Path, texts: list[tuple[str, ...]]) -> Gallery:
    """A picture for each of `texts`; its bytes are its name."""
    entries = []
    for number, own in enumerate(texts):
        file = folder / f"{number}.png"
        file.write_text(file.name)
        entries.append(Entry(file.name, FilePicture(str(file)), own))
    return gallery(entries, "drawn")


@contextmanager
def not_shown(stage: str, total: int) -> Iterator[Count]:
    """Shows nothing."""
    yield lambda count: None


@asynccontextmanager
async def answering(ask: Drawing, answers: Answers, at_once: int = 4) -> AsyncIterator[Answering]:
    """With real pictures and real answers."""
    async with open_pictures(ImageSettings()) as pictures:
        yield Answering(ask, pictures, PAPER, answers, not_shown, at_once)
