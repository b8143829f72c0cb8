"""Image-text matching: images x captions to scores. Knows no HTTP and no tensors."""

import asyncio
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from blip_serve.domain import Caption, ImageBytes, MatchItem, PairScore, Prepared, Score, ScoringProtocol, Task
from blip_serve.errors import DeadlineExceeded, InternalError, InvalidInput, OutOfMemory, ServiceError
from blip_serve.images.reference import ImageSource
from blip_serve.settings import LimitSettings, request_cost
from blip_serve.tasks.inputs import check_any, check_counts, check_pairs, check_text, check_zip, field_of
from blip_serve.tasks.session import Session, Sessions, Timings, all_of
from blip_serve.tasks.usage import Usage, usage_of

Pairing = Literal["cross", "zip"]
OnError = Literal["request", "item"]

ITEM_ERRORS = (InvalidInput, InternalError, OutOfMemory, DeadlineExceeded)
"""What may be wrong with a pair alone; anything else is the request's, or the service's."""
UNSCORED, UNPREPARED = PairScore(), Prepared(())


@dataclass(frozen=True, slots=True)
class MatchRequest:
    """What to score: every image with every caption (`cross`), or first with first (`zip`).

    `model` and `protocol` are the configured ones where `None`. `on_error`: whether what is wrong with a pair fails the
    request, or is told in place of the pair's scores.
    """

    images: tuple[ImageSource, ...]
    captions: tuple[Caption, ...]
    pairing: Pairing = "cross"
    scores: frozenset[Score] = frozenset({"itm", "cosine"})
    model: str | None = None
    protocol: ScoringProtocol | None = None
    on_error: OnError = "request"


@dataclass(frozen=True, slots=True)
class MatchPair:
    """The scores of one image and one caption, by their places in the request; none where there is an `error`."""

    image_index: int
    caption_index: int
    score: PairScore = UNSCORED
    error: ServiceError | None = None


@dataclass(frozen=True, slots=True)
class MatchResult:
    """Pairs ordered by image, then by caption."""

    model: str
    protocol: ScoringProtocol
    pairs: tuple[MatchPair, ...]
    usage: Usage
    timings: Timings


@dataclass(frozen=True, slots=True)
class Part:
    """What came of some captions of an image, and what is counted of it, which holds no image any more."""

    pairs: tuple[MatchPair, ...]
    digest: str = ""
    prepared: Prepared = UNPREPARED


class Match:
    """The task; `needs`: what its model must do, one of them."""

    needs: ClassVar[tuple[Task, ...]] = ("match",)

    def __init__(self, sessions: Sessions, limits: LimitSettings) -> None:
        self._sessions = sessions
        self._limits = limits

    async def run(self, request: MatchRequest) -> MatchResult:
        """Scores the request's pairs. Raises `ServiceError`s that name the request's fields."""
        captions = self._captions_of_images(request)
        cost = request_cost(len(request.images), sum(map(len, captions)))
        whole = request.on_error == "request"
        async with self._sessions.open(request.model, self.needs, cost, timed=whole) as session:
            scoring = Scoring(session, request, self._limits)
            if whole:
                parts = await all_of([scoring.part(image, of_it) for image, of_it in enumerate(captions)])
            else:
                parts = await scoring.faults_in_place(captions)
            pairs = tuple(pair for part in parts for pair in part.pairs)
            return MatchResult(session.lease.id, scoring.protocol, pairs, session.used(_usage(parts)), session.timings)

    def _captions_of_images(self, request: MatchRequest) -> list[range]:
        """The captions each image is scored against, by their places; refuses a request beyond the limits."""
        check_any(images=request.images, captions=request.captions, scores=request.scores)
        images, captions = len(request.images), len(request.captions)
        check_size(
            request.pairing, images, captions, self._limits, field_of(request.images), field_of(request.captions)
        )
        if request.on_error == "request":
            for caption in request.captions:
                check_text(caption, self._limits)
        if request.pairing == "zip":
            return [range(i, i + 1) for i in range(images)]
        check_pairs(request.images, request.captions, self._limits)
        return [range(captions)] * images


class Scoring:
    """One request's images under way: as many at a time as a request may have to score with every caption."""

    def __init__(self, session: Session, request: MatchRequest, limits: LimitSettings) -> None:
        self.protocol: ScoringProtocol = request.protocol or session.lease.protocol
        self._session = session
        self._request = request
        self._limits = limits
        self._at_once = asyncio.Semaphore(limits.max_images)

    async def part(self, image: int, captions: Sequence[int]) -> Part:
        """An image, by its place, scored against captions. Raises what `Session.load` and `Session.run` raise."""
        async with self._at_once:
            return await self._scored(image, captions, await self._session.load(self._request.images[image]))

    async def faults_in_place(self, captions: Sequence[range]) -> list[Part]:
        """Each image scored against its captions; pairs that have a fault, or came too late, hold it."""
        found = await self._session.until_deadline([self._faulty(image, of_it) for image, of_it in enumerate(captions)])
        late = DeadlineExceeded("The request's time ran out before this pair was scored.")
        return [
            part
            for image, parts in enumerate(found)
            for part in ([self._failed(image, captions[image], late)] if parts is None else parts)
        ]

    async def _faulty(self, image: int, captions: range) -> list[Part]:
        async with self._at_once:
            try:
                loaded = await self._session.load(self._request.images[image])
            except ITEM_ERRORS as error:
                return [self._failed(image, captions, error)]
            return await self._halved(image, captions, loaded)

    async def _halved(self, image: int, captions: range, loaded: ImageBytes) -> list[Part]:
        """As `_scored`; a fault that lies in one of several captions is looked for by halves."""
        asked = [self._request.captions[i] for i in captions]
        try:
            for caption in asked:
                check_text(caption, self._limits)
            return [await self._scored(image, captions, loaded)]
        except ITEM_ERRORS as error:
            if len(captions) == 1 or error.param not in {caption.param for caption in asked}:
                return [self._failed(image, captions, error)]
        middle = len(captions) // 2
        first = await self._halved(image, captions[:middle], loaded)
        return first + await self._halved(image, captions[middle:], loaded)

    async def _scored(self, image: int, captions: Sequence[int], loaded: ImageBytes) -> Part:
        texts = tuple(self._request.captions[i] for i in captions)
        prepared, scores = await self._session.run(MatchItem(loaded, texts, self.protocol, self._request.scores))
        pairs = tuple(MatchPair(image, caption, score) for caption, score in zip(captions, scores, strict=True))
        return Part(pairs, loaded.digest, replace(prepared, works=()))  # works hold what the vision tower made of it

    def _failed(self, image: int, captions: Sequence[int], error: ServiceError) -> Part:
        fault = copy(error)  # less its traceback, which holds the image
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
    """Raises `InvalidInput` for more than the limits; a face may ask before it reads them."""
    if pairing == "zip":
        check_zip(images, captions, limits, images_field)
    else:
        check_counts(images, captions, limits, images_field, captions_field)


def _usage(parts: Sequence[Part]) -> Usage:
    """A caption scored against many images counts once."""
    text_tokens = {
        pair.caption_index: tokens
        for part in parts
        for pair, tokens in zip(part.pairs, part.prepared.text_tokens, strict=False)  # none where it failed
    }
    return usage_of(((part.digest, part.prepared) for part in parts), sum(text_tokens.values()))
