"""Image-text matching: scores pairs of images and captions. Knows no HTTP and no tensors."""

import asyncio
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

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
from blip_serve.errors import DeadlineExceeded, InternalError, InvalidInput, OutOfMemory, ServiceError
from blip_serve.images.reference import ImageSource
from blip_serve.settings import LimitSettings
from blip_serve.tasks.inputs import check_any, check_counts, check_pairs, check_texts, check_zip, field_of
from blip_serve.tasks.request import Request, Result, Usage, usage_of
from blip_serve.tasks.session import Session, Sessions, all_of

Pairing = Literal["cross", "zip"]
OnError = Literal["request", "item"]

ITEM_ERRORS = (InvalidInput, InternalError, OutOfMemory, DeadlineExceeded)
"""Errors that may concern a single pair. All others fail the whole request."""
UNSCORED, UNPREPARED = MatchScores(), Prepared(())


@dataclass(frozen=True, slots=True)
class MatchRequest(Request["MatchResult"]):
    """What to score: every image with every caption (`cross`), or each image with the caption at its index (`zip`).

    `on_error`: `request` fails the request if one pair fails; `item` returns the error in place of the pair's scores.
    """

    needs: ClassVar[tuple[Task, ...]] = ("match",)

    images: tuple[ImageSource, ...]
    captions: tuple[Caption, ...]
    pairing: Pairing = "cross"
    scores: frozenset[ScoreName] = frozenset({"itm", "cosine"})
    on_error: OnError = "request"


@dataclass(frozen=True, slots=True)
class MatchPair:
    """The scores of one pair, or its `error`. The indices are those in the request."""

    image_index: int
    caption_index: int
    score: MatchScores = UNSCORED
    error: ServiceError | None = None


@dataclass(frozen=True, slots=True)
class MatchResult(Result):
    """Pairs ordered by image, then by caption."""

    pairs: tuple[MatchPair, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """The scores of one image with some captions. `digest`, `prepared`: for the usage. Does not hold the image."""

    pairs: tuple[MatchPair, ...]
    digest: str = ""
    prepared: Prepared = UNPREPARED


async def match(request: MatchRequest, caller: Caller, sessions: Sessions) -> MatchResult:
    """Scores the request's pairs. Raises `ServiceError`s that name the request's fields."""
    captions = _captions_of_images(request, sessions.limits)
    cost = request_cost(len(request.images), sum(map(len, captions)))
    whole = request.on_error == "request"
    async with sessions.open(request, caller, cost, timed=whole) as session:
        scoring = Scoring(session, request, sessions.limits)
        if whole:
            parts = await all_of([scoring.part(image, of_it) for image, of_it in enumerate(captions)])
        else:
            parts = await scoring.parts_or_errors(captions)
        pairs = tuple(pair for part in parts for pair in part.pairs)
        return MatchResult(pairs, **session.served(_usage(parts)))


def _captions_of_images(request: MatchRequest, limits: LimitSettings) -> list[range]:
    """For each image the indices of its captions. Raises `InvalidInput` if the request is invalid or too large."""
    check_any(images=request.images, captions=request.captions, scores=request.scores)
    images, captions = len(request.images), len(request.captions)
    check_size(request.pairing, images, captions, limits, field_of(request.images), field_of(request.captions))
    if request.on_error == "request":
        check_texts(request.captions, limits)
    if request.pairing == "zip":
        return [range(i, i + 1) for i in range(images)]
    check_pairs(request.images, request.captions, limits)
    return [range(captions)] * images


class Scoring:
    """Scores the images of one request, at most `limits.max_images` at a time."""

    def __init__(self, session: Session, request: MatchRequest, limits: LimitSettings) -> None:
        self._session = session
        self._request = request
        self._limits = limits
        self._at_once = asyncio.Semaphore(limits.max_images)

    async def part(self, image: int, captions: Sequence[int]) -> Part:
        """Scores the image at index `image` with `captions`. Raises what `Session.load` and `Session.run` raise."""
        async with self._at_once:
            return await self._scored(image, captions, await self._session.load(self._request.images[image]))

    async def parts_or_errors(self, captions: Sequence[range]) -> list[Part]:
        """Scores each image with its captions. A pair that failed, or was not ready in time, has an error instead."""
        found = await self._session.until_deadline(
            [self._part_or_error(image, of_it) for image, of_it in enumerate(captions)]
        )
        late = DeadlineExceeded("The request's time ran out before this pair was scored.")
        return [
            part
            for image, parts in enumerate(found)
            for part in ([self._failed(image, captions[image], late)] if parts is None else parts)
        ]

    async def _part_or_error(self, image: int, captions: range) -> list[Part]:
        async with self._at_once:
            try:
                loaded = await self._session.load(self._request.images[image])
            except ITEM_ERRORS as error:
                return [self._failed(image, captions, error)]
            return await self._bisect(image, captions, loaded)

    async def _bisect(self, image: int, captions: range, loaded: ImageBytes) -> list[Part]:
        """Like `_scored`. If a caption is at fault, finds it by bisection and scores the others."""
        asked = [self._request.captions[i] for i in captions]
        try:
            check_texts(asked, self._limits)
            return [await self._scored(image, captions, loaded)]
        except ITEM_ERRORS as error:
            if len(captions) == 1 or error.param not in {caption.param for caption in asked}:
                return [self._failed(image, captions, error)]
        middle = len(captions) // 2
        first = await self._bisect(image, captions[:middle], loaded)
        return first + await self._bisect(image, captions[middle:], loaded)

    async def _scored(self, image: int, captions: Sequence[int], loaded: ImageBytes) -> Part:
        texts = tuple(self._request.captions[i] for i in captions)
        prepared, scores = await self._session.run(
            MatchItem(loaded, texts, self._session.protocol, self._request.scores)
        )
        pairs = tuple(MatchPair(image, caption, score) for caption, score in zip(captions, scores, strict=True))
        return Part(pairs, loaded.digest, replace(prepared, works=()))  # works hold the image's embeddings

    def _failed(self, image: int, captions: Sequence[int], error: ServiceError) -> Part:
        fault = copy(error)  # without its traceback, which would keep the image in memory
        fault.param = fault.param or self._request.images[image].param
        return Part(tuple(MatchPair(image, caption, error=fault) for caption in captions))


def check_size(
    pairing: Pairing,
    images: int,
    captions: int,
    limits: LimitSettings,
    images_field: str = "images",
    captions_field: str = "captions",
) -> None:
    """Raises `InvalidInput` for too many inputs. An endpoint may call this before it parses them."""
    if pairing == "zip":
        check_zip(images, captions, limits, images_field)
    else:
        check_counts(images, captions, limits, images_field, captions_field)


def _usage(parts: Sequence[Part]) -> Usage:
    """The tokens of a caption count once, however many images it was scored with."""
    text_tokens = {
        pair.caption_index: tokens
        for part in parts
        for pair, tokens in zip(part.pairs, part.prepared.text_tokens, strict=False)  # a failed part has no tokens
    }
    return usage_of(((part.digest, part.prepared) for part in parts), sum(text_tokens.values()))
