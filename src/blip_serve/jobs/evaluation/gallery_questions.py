"""What is asked about a gallery: vectors of its pictures and texts, and the match of pairs."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from typing import TypeAlias

import numpy as np

from blip_serve.domain import Caption, ScoreName
from blip_serve.errors import InternalError
from blip_serve.images.reference import BytesImage
from blip_serve.jobs.evaluation.answering import Answering, Question
from blip_serve.jobs.evaluation.gallery import Gallery
from blip_serve.jobs.evaluation.limited import limited
from blip_serve.jobs.evaluation.pairs import Pairs
from blip_serve.jobs.evaluation.ranking import Indices, Scores, Vectors
from blip_serve.tasks.embed import EmbedRequest, Vector
from blip_serve.tasks.inputs import Input
from blip_serve.tasks.match import MatchPair, MatchRequest

PICTURES, TEXTS = 4, 256
"""Embedded in one request."""
PAIRS = 512
"""Texts scored with a picture in one request."""
ITM: frozenset[ScoreName] = frozenset({"itm"})
Load: TypeAlias = Callable[[Sequence[int]], Awaitable[Sequence[Input]]]
"""The inputs with these numbers."""


class GalleryQuestions:
    """Asks by `answering`. `texts`: the gallery's distinct texts; `distinct` (T,): for each text which of them it is.

    Errors name a picture as the data set does, and a text as itself.
    """

    def __init__(self, answering: Answering, gallery: Gallery) -> None:
        self._answering = answering
        self._entries = gallery.entries
        number: dict[str, int] = {}
        self.distinct: Indices = np.array([number.setdefault(text, len(number)) for text in gallery.texts])
        self.texts = [Caption(text, text) for text in number]

    async def picture_vectors(self) -> Vectors:
        """(P, E) of all pictures."""
        return await self._vectors("pictures", len(self._entries), PICTURES, self._pictures)

    async def text_vectors(self) -> Vectors:
        """(T, E) of all texts."""
        return (await self._vectors("texts", len(self.texts), TEXTS, self._texts))[self.distinct]

    async def logits(self, pairs: Pairs) -> Scores:
        """(N,) the match logit of each pair.

        The pictures that were embedded last are asked for first: their token embeddings are still in the cache.
        """
        last_first = reversed(range(len(self._entries)))
        questions = (self._match(picture, pairs.texts_of(picture)) for picture in last_first)
        answers = self._answering.answers("pairs", questions, len(pairs.keys))
        found = [np.frombuffer(answer, "<f4") async for answer in answers]
        return np.concatenate(found[::-1])

    async def _vectors(self, counted: str, count: int, at_once: int, inputs: Load) -> Vectors:
        def questions() -> Iterator[Question]:
            for start in range(0, count, at_once):
                some = range(start, min(start + at_once, count))
                yield Question(f"{counted} {start}", partial(self._embed, inputs, some), len(some))

        answers = self._answering.answers(counted, questions(), count)
        found = [np.frombuffer(answer, "<f4") async for answer in answers]
        return np.concatenate(found).reshape(count, -1)

    async def _embed(self, inputs: Load, some: Sequence[int]) -> bytes:
        async def run(given: Sequence[Input]) -> list[Vector]:
            return list((await self._answering.run(EmbedRequest(tuple(given)))).vectors)

        return np.array(await limited(run, await inputs(some)), "<f4").tobytes()

    def _match(self, picture: int, texts: Indices) -> Question:
        key = f"pairs {picture} {sha256(texts.tobytes()).hexdigest()}"
        return Question(key, partial(self._logits, picture, texts), len(texts))

    async def _logits(self, picture: int, texts: Indices) -> bytes:
        [image] = await self._pictures([picture])

        async def run(given: Sequence[Caption]) -> list[float]:
            result = await self._answering.run(MatchRequest((image,), tuple(given), scores=ITM))
            return [_logit(pair) for pair in result.pairs]

        found: list[float] = []
        for start in range(0, len(texts), PAIRS):
            found += await limited(run, [self.texts[text] for text in texts[start : start + PAIRS]])
        return np.array(found, "<f4").tobytes()

    async def _pictures(self, some: Sequence[int]) -> list[BytesImage]:
        entries = [self._entries[each] for each in some]
        return [await self._answering.picture(entry.picture, entry.name) for entry in entries]

    async def _texts(self, some: Sequence[int]) -> list[Caption]:
        return [self.texts[each] for each in some]


def _logit(pair: MatchPair) -> float:
    if pair.score.itm_logits is None:
        raise InternalError("The model gave no logits for this picture and text.")
    return pair.score.itm_logits[1]
