"""Orders documents by their relevance to a query: images by a text, or texts by an image."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from blip_serve.domain import (
    Caller,
    Caption,
    ImageBytes,
    MatchItem,
    MatchScores,
    Prepared,
    ScoreName,
    Task,
    request_cost,
)
from blip_serve.images.reference import ImageSource
from blip_serve.tasks.inputs import Input, check_any, check_inputs, check_pairs, check_positive, same_kind, split
from blip_serve.tasks.relevance import NEEDED, RankBy, relevance
from blip_serve.tasks.request import Request, Result, usage_of
from blip_serve.tasks.session import Session, Sessions, all_of

Scores = Mapping[int, MatchScores]
"""Scores by the document's index in the request."""


@dataclass(frozen=True, slots=True)
class RerankRequest(Request["RerankResult"]):
    """What to order, by which number, and how many of the best to return (`top_n`; `None`: all).

    `shortlist`: first rank all documents by cosine, then rank only so many of the best by `rank_by` and return only
    these. These are the two stages of the paper's evaluation.
    """

    needs: ClassVar[tuple[Task, ...]] = ("match",)

    query: Input
    documents: tuple[Input, ...]
    rank_by: RankBy = "itm"
    top_n: int | None = None
    shortlist: int | None = None


@dataclass(frozen=True, slots=True)
class RankedDocument:
    """A document by its index in the request, the number it is sorted by, and the scores that were computed."""

    index: int
    relevance: float
    score: MatchScores


@dataclass(frozen=True, slots=True)
class RerankResult(Result):
    """Documents, the most relevant first. Equally relevant documents are in the request's order."""

    documents: tuple[RankedDocument, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """One scored image: its scores with the captions. `prepared` keeps the encoded image in memory."""

    image: ImageBytes
    prepared: Prepared
    scores: list[MatchScores]


async def rerank(request: RerankRequest, caller: Caller, sessions: Sessions) -> RerankResult:
    """The documents in order. Raises `ServiceError`s that name the request's fields."""
    check_any(documents=request.documents)
    check_positive(top_n=request.top_n, shortlist=request.shortlist)
    images, texts = _sides(request)
    check_inputs(images, texts, sessions.limits)
    check_pairs(images, texts, sessions.limits)
    async with sessions.open(request, caller, request_cost(len(images), len(texts))) as session:
        first = NEEDED[request.rank_by if request.shortlist is None else "cosine"]
        runs = await all_of([_score_image(session, image, texts, first) for image in images])
        scores: Scores = dict(enumerate(score for run in runs for score in run.scores))
        if request.shortlist is not None:
            shortlist = _best(scores, "cosine", request.shortlist)
            scores = await _score_again(session, request.rank_by, texts, runs, shortlist)
        ranked = _best(scores, request.rank_by, request.top_n)
        documents = (RankedDocument(i, relevance(score, request.rank_by), score) for i, score in ranked.items())
        usage = usage_of([(run.image.digest, run.prepared) for run in runs], sum(runs[0].prepared.text_tokens))
        return RerankResult(tuple(documents), **session.served(usage))


def _sides(request: RerankRequest) -> tuple[tuple[ImageSource, ...], tuple[Caption, ...]]:
    """The images and the texts to pair. One of the two is the query alone, so the pairs are in the documents' order.

    Raises `InvalidInput` that names the first document of the same kind as the query.
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
    scores: frozenset[ScoreName],
) -> Run:
    """Loads an image and scores it with `captions`. Raises what `Session.load` and `Session.run` raise."""
    image = await session.load(source)
    prepared, found = await session.run(MatchItem(image, captions, session.protocol, scores))
    return Run(image, prepared, found)


def _best(scores: Scores, by: RankBy, count: int | None) -> Scores:
    """The `count` best, in order."""
    order = sorted(sorted(scores), key=lambda index: relevance(scores[index], by), reverse=True)
    return {index: scores[index] for index in order[:count]}


async def _score_again(
    session: Session,
    by: RankBy,
    texts: tuple[Caption, ...],
    runs: list[Run],
    shortlist: Scores,
) -> Scores:
    """The shortlist with the scores that `by` needs beside the cosine.

    The images are not encoded again, because `runs` keeps their encodings in memory.
    """
    missing = NEEDED[by] - NEEDED["cosine"]
    if not missing:
        return shortlist
    items = []
    for number, run in enumerate(runs):
        start = number * len(texts)
        chosen = tuple(text for i, text in enumerate(texts) if start + i in shortlist)
        if chosen:
            items.append(MatchItem(run.image, chosen, session.protocol, missing))
    found = await all_of([session.run(item) for item in items])
    scores = [score for _, item_scores in found for score in item_scores]
    return {
        index: replace(score, cosine_score=shortlist[index].cosine_score)
        for index, score in zip(sorted(shortlist), scores, strict=True)
    }
