"""Image-text matching: images x captions to scores. Knows no HTTP and no tensors."""

from dataclasses import dataclass
from typing import Literal

from blip_serve.domain import Caption, MatchItem, PairScore, Prepared, Score, ScoringProtocol
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import ImageSource
from blip_serve.settings import LimitSettings, request_cost
from blip_serve.tasks.session import Session, Sessions, Timings, all_of
from blip_serve.tasks.usage import Usage, usage_of

Pairing = Literal["cross", "zip"]


@dataclass(frozen=True, slots=True)
class MatchRequest:
    """What to score: every image with every caption (`cross`), or first with first (`zip`).

    `model` and `protocol` are the configured ones where `None`.
    """

    images: tuple[ImageSource, ...]
    captions: tuple[Caption, ...]
    pairing: Pairing = "cross"
    scores: frozenset[Score] = frozenset({"itm", "cosine"})
    model: str | None = None
    protocol: ScoringProtocol | None = None


@dataclass(frozen=True, slots=True)
class MatchPair:
    """The scores of one image and one caption, by their places in the request."""

    image_index: int
    caption_index: int
    score: PairScore


@dataclass(frozen=True, slots=True)
class MatchResult:
    """Pairs ordered by image, then by caption."""

    model: str
    protocol: ScoringProtocol
    pairs: tuple[MatchPair, ...]
    usage: Usage
    timings: Timings


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one image: its digest, what was prepared, a score for each of its captions."""

    digest: str
    prepared: Prepared
    scores: list[PairScore]


class Match:
    """The task."""

    def __init__(self, sessions: Sessions, limits: LimitSettings) -> None:
        self._sessions = sessions
        self._limits = limits

    async def run(self, request: MatchRequest) -> MatchResult:
        """Scores the request's pairs. Raises `ServiceError`s that name the request's fields."""
        captions = self._captions_of_images(request)
        cost = request_cost(len(request.images), sum(map(len, captions)))
        async with self._sessions.open(request.model, ["match"], cost) as session:
            protocol = request.protocol or session.lease.protocol
            parts = [
                _score(session, image, tuple(request.captions[i] for i in indices), protocol, request.scores)
                for image, indices in zip(request.images, captions, strict=True)
            ]
            runs = await all_of(parts)
            return MatchResult(
                session.lease.id, protocol, _pairs(runs, captions), _usage(runs, captions), session.timings
            )

    def _captions_of_images(self, request: MatchRequest) -> list[range]:
        """The captions each image is scored against, by their places; refuses a request beyond the limits."""
        images, captions = len(request.images), len(request.captions)
        check_counts(images, captions, self._limits)
        for caption in request.captions:
            check_text(caption, self._limits)
        if request.pairing == "zip":
            if images != captions:
                raise InvalidInput(f"'zip' pairs {images} images with {captions} captions.", param="pairing")
            return [range(i, i + 1) for i in range(images)]
        if images * captions > self._limits.max_pairs:
            raise InvalidInput(
                f"{images} images with {captions} captions are {images * captions} pairs; the limit is "
                f"{self._limits.max_pairs} a request.",
                code="too_many_captions",
                param="captions",
            )
        return [range(captions)] * images


def check_counts(images: int, captions: int, limits: LimitSettings) -> None:
    """Raises `InvalidInput` for more than the limits; a face may ask before it reads them."""
    if images > limits.max_images:
        raise _too_many("images", images, limits.max_images)
    if captions > limits.max_captions:
        raise _too_many("captions", captions, limits.max_captions)


def check_text(text: Caption, limits: LimitSettings) -> None:
    """Raises `InvalidInput` for a text that is blank or longer than the limit."""
    if not text.text.strip():
        raise InvalidInput("The text is blank.", code="empty_input", param=text.param)
    if len(text.text) > limits.max_caption_chars:
        raise InvalidInput(
            f"The text has {len(text.text)} characters; the limit is {limits.max_caption_chars}.",
            code="input_too_long",
            param=text.param,
        )


async def _score(
    session: Session,
    source: ImageSource,
    captions: tuple[Caption, ...],
    protocol: ScoringProtocol,
    scores: frozenset[Score],
) -> Run:
    image = await session.load(source)
    prepared, found = await session.run(MatchItem(image, captions, protocol, scores))
    return Run(image.digest, prepared, found)


def _pairs(runs: list[Run], captions: list[range]) -> tuple[MatchPair, ...]:
    return tuple(
        MatchPair(image_index, caption_index, score)
        for image_index, (run, indices) in enumerate(zip(runs, captions, strict=True))
        for caption_index, score in zip(indices, run.scores, strict=True)
    )


def _usage(runs: list[Run], captions: list[range]) -> Usage:
    """A caption scored against many images counts once."""
    text_tokens = {
        index: tokens
        for run, indices in zip(runs, captions, strict=True)
        for index, tokens in zip(indices, run.prepared.text_tokens, strict=True)
    }
    return usage_of(((run.digest, run.prepared) for run in runs), sum(text_tokens.values()))


def _too_many(what: Literal["images", "captions"], found: int, limit: int) -> InvalidInput:
    return InvalidInput(f"{found} {what}; the limit is {limit} a request.", code=f"too_many_{what}", param=what)
