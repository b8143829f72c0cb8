"""Documents in the order of their relevance to a query: images to a text, or texts to an image."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from blip_serve.domain import Caption, ImageBytes, MatchItem, PairScore, Prepared, Score, ScoringProtocol, Task
from blip_serve.images.reference import ImageSource
from blip_serve.settings import LimitSettings, request_cost
from blip_serve.tasks.inputs import Input, check_any, check_inputs, check_pairs, check_positive, same_kind, split
from blip_serve.tasks.relevance import NEEDED, RankBy, relevance
from blip_serve.tasks.session import Session, Sessions, Timings, all_of
from blip_serve.tasks.usage import Usage, usage_of

Scores = Mapping[int, PairScore]
"""Scores by the document's place in the request."""


@dataclass(frozen=True, slots=True)
class RerankRequest:
    """What to order, by what, and how many of the best are wanted (all, where `top_n` is `None`).

    `shortlist`: rank all by cosine, and only so many of the best by `rank_by`; only those come back. These are the two
    stages of the paper's evaluation. `model` and `protocol` are the configured ones where `None`.
    """

    query: Input
    documents: tuple[Input, ...]
    rank_by: RankBy = "itm"
    top_n: int | None = None
    shortlist: int | None = None
    model: str | None = None
    protocol: ScoringProtocol | None = None


@dataclass(frozen=True, slots=True)
class RankedDocument:
    """A document by its place in the request, the number it is sorted by, and the scores that were computed."""

    index: int
    relevance: float
    score: PairScore


@dataclass(frozen=True, slots=True)
class RerankResult:
    """Documents, the most relevant first; equally relevant ones in the request's order."""

    model: str
    protocol: ScoringProtocol
    documents: tuple[RankedDocument, ...]
    usage: Usage
    timings: Timings


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one image: the image, what was prepared (it keeps the image's state alive), its captions' scores."""

    image: ImageBytes
    prepared: Prepared
    scores: list[PairScore]


class Rerank:
    """The task; `needs`: what its model must do, one of them."""

    needs: ClassVar[tuple[Task, ...]] = ("match",)

    def __init__(self, sessions: Sessions, limits: LimitSettings) -> None:
        self._sessions = sessions
        self._limits = limits

    async def run(self, request: RerankRequest) -> RerankResult:
        """The documents in order. Raises `ServiceError`s that name the request's fields."""
        check_any(documents=request.documents)
        check_positive(top_n=request.top_n, shortlist=request.shortlist)
        images, texts = _sides(request)
        check_inputs(images, texts, self._limits)
        check_pairs(images, texts, self._limits)
        async with self._sessions.open(request.model, self.needs, request_cost(len(images), len(texts))) as session:
            protocol = request.protocol or session.lease.protocol
            first = NEEDED[request.rank_by if request.shortlist is None else "cosine"]
            runs = await all_of([_score_image(session, image, texts, protocol, first) for image in images])
            scores: Scores = dict(enumerate(score for run in runs for score in run.scores))
            if request.shortlist is not None:
                shortlist = _best(scores, "cosine", request.shortlist)
                scores = await _score_again(session, request.rank_by, texts, protocol, runs, shortlist)
            ranked = _best(scores, request.rank_by, request.top_n)
            usage = usage_of([(run.image.digest, run.prepared) for run in runs], sum(runs[0].prepared.text_tokens))
            return RerankResult(
                session.lease.id,
                protocol,
                tuple(RankedDocument(i, relevance(score, request.rank_by), score) for i, score in ranked.items()),
                session.used(usage),
                session.timings,
            )


def _sides(request: RerankRequest) -> tuple[tuple[ImageSource, ...], tuple[Caption, ...]]:
    """Images and texts, the query alone on its side: images x texts are then in the documents' order.

    Raises `InvalidInput` naming the first document of the query's kind.
    """
    images, texts = split(request.documents)
    if isinstance(request.query, Caption):
        if texts:
            raise same_kind(texts[0])
        return images, (request.query,)
    if images:
        raise same_kind(images[0])
    return (request.query,), texts


async def _score_image(
    session: Session,
    source: ImageSource,
    captions: tuple[Caption, ...],
    protocol: ScoringProtocol,
    scores: frozenset[Score],
) -> Run:
    """Loads an image and scores it against `captions`. Raises what `Session.load` and `Session.run` raise."""
    image = await session.load(source)
    prepared, found = await session.run(MatchItem(image, captions, protocol, scores))
    return Run(image, prepared, found)


def _best(scores: Scores, by: RankBy, count: int | None) -> Scores:
    """The `count` best, in order."""
    order = sorted(sorted(scores), key=lambda index: relevance(scores[index], by), reverse=True)
    return {index: scores[index] for index in order[:count]}


async def _score_again(
    session: Session,
    by: RankBy,
    texts: tuple[Caption, ...],
    protocol: ScoringProtocol,
    runs: list[Run],
    shortlist: Scores,
) -> Scores:
    """The shortlist with what `by` needs beyond the cosine. `runs`, being alive, keep their images encoded."""
    missing = NEEDED[by] - NEEDED["cosine"]
    if not missing:
        return shortlist
    items = []
    for number, run in enumerate(runs):
        start = number * len(texts)
        chosen = tuple(text for place, text in enumerate(texts) if start + place in shortlist)
        if chosen:
            items.append(MatchItem(run.image, chosen, protocol, missing))
    found = await all_of([session.run(item) for item in items])
    scores = [score for _, item_scores in found for score in item_scores]
    return {
        index: replace(score, cosine_score=shortlist[index].cosine_score)
        for index, score in zip(sorted(shortlist), scores, strict=True)
    }
