"""Image-text matching: images x captions to scores. Knows no HTTP and no tensors."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from blip_serve.domain import Caption, ImageBytes, MatchItem, PairScore, Prepared, Score, ScoringProtocol, Task
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import ImageSource
from blip_serve.settings import LimitSettings, request_cost
from blip_serve.tasks.inputs import check_any, check_inputs, check_pairs
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
    """What came of one image: the image, what was prepared (it keeps the image's state alive), its captions' scores."""

    image: ImageBytes
    prepared: Prepared
    scores: list[PairScore]


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
        async with self._sessions.open(request.model, self.needs, cost) as session:
            protocol = request.protocol or session.lease.protocol
            parts = [
                score_image(session, image, tuple(request.captions[i] for i in indices), protocol, request.scores)
                for image, indices in zip(request.images, captions, strict=True)
            ]
            runs = await all_of(parts)
            usage = session.used(_usage(runs, captions))
            return MatchResult(session.lease.id, protocol, _pairs(runs, captions), usage, session.timings)

    def _captions_of_images(self, request: MatchRequest) -> list[range]:
        """The captions each image is scored against, by their places; refuses a request beyond the limits."""
        check_any(images=request.images, captions=request.captions, scores=request.scores)
        check_inputs(request.images, request.captions, self._limits)
        images, captions = len(request.images), len(request.captions)
        if request.pairing == "zip":
            if images != captions:
                raise InvalidInput(f"'zip' pairs {images} images with {captions} captions.", param="pairing")
            return [range(i, i + 1) for i in range(images)]
        check_pairs(request.images, request.captions, self._limits)
        return [range(captions)] * images


async def score_image(
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
    return usage_of(((run.image.digest, run.prepared) for run in runs), sum(text_tokens.values()))
