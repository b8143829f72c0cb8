"""One score a pair: a text and an image each, first with every second or first with first."""

from dataclasses import dataclass

from blip_serve.domain import Caption, ScoringProtocol
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import ImageSource
from blip_serve.tasks.inputs import Input, check_any, field_of, same_kind, split
from blip_serve.tasks.match import Match, MatchRequest
from blip_serve.tasks.relevance import NEEDED, RankBy, relevance
from blip_serve.tasks.session import Timings
from blip_serve.tasks.usage import Usage


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """Pairs to score: the one of `first` with every one of `second`, or as many, first with first.

    `model` and `protocol` are the configured ones where `None`.
    """

    first: tuple[Input, ...]
    second: tuple[Input, ...]
    rank_by: RankBy = "itm"
    model: str | None = None
    protocol: ScoringProtocol | None = None


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """A score a pair, in the order of `second`."""

    model: str
    protocol: ScoringProtocol
    scores: tuple[float, ...]
    usage: Usage
    timings: Timings


class PairScoring:
    """The task: image-text matching that says one number a pair; `needs`: as `Match`."""

    needs = Match.needs

    def __init__(self, match: Match) -> None:
        self._match = match

    async def run(self, request: ScoreRequest) -> ScoreResult:
        """Scores the request's pairs. Raises `ServiceError`s that name the request's fields."""
        result = await self._match.run(_as_match(request))
        scores = tuple(relevance(pair.score, request.rank_by) for pair in result.pairs)
        return ScoreResult(result.model, result.protocol, scores, result.usage, result.timings)


def _as_match(request: ScoreRequest) -> MatchRequest:
    """The same pairs in the same order. Raises `InvalidInput` for lengths or kinds that make no pairs, and for none."""
    check_any(first=request.first, second=request.second)
    first, second, scores = request.first, request.second, NEEDED[request.rank_by]
    if len(first) not in (1, len(second)):
        raise InvalidInput(
            f"{len(first)} and {len(second)} entries make no pairs: give one and any number, or as many.",
            param=field_of(second),
        )
    one_to_many = len(first) == 1
    pairs = [_pair(a, b) for a, b in zip(first * len(second) if one_to_many else first, second, strict=True)]
    if one_to_many:
        images, texts = split((*first, *second))
        return MatchRequest(images, texts, "cross", scores, request.model, request.protocol)
    images, texts = zip(*pairs, strict=True)
    return MatchRequest(images, texts, "zip", scores, request.model, request.protocol)


def _pair(first: Input, second: Input) -> tuple[ImageSource, Caption]:
    """The image and the text. Raises `InvalidInput` where there are two of a kind."""
    if isinstance(first, Caption) and not isinstance(second, Caption):
        return second, first
    if isinstance(second, Caption) and not isinstance(first, Caption):
        return first, second
    raise same_kind(second)
