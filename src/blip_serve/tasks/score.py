"""One score per pair of a text and an image: one input with many, or two lists entry by entry."""

from dataclasses import dataclass
from typing import ClassVar

from blip_serve.domain import Caller, Caption, Task
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import ImageSource
from blip_serve.tasks.inputs import Input, check_any, field_of, same_kind, split
from blip_serve.tasks.match import MatchRequest, match
from blip_serve.tasks.relevance import NEEDED, RankBy, relevance
from blip_serve.tasks.request import Request, Result
from blip_serve.tasks.session import Sessions


@dataclass(frozen=True, slots=True)
class ScoreRequest(Request["ScoreResult"]):
    """Pairs to score. The one entry of `first` is paired with each of `second`; several are paired by index."""

    needs: ClassVar[tuple[Task, ...]] = ("match",)

    first: tuple[Input, ...]
    second: tuple[Input, ...]
    rank_by: RankBy = "itm"


@dataclass(frozen=True, slots=True)
class ScoreResult(Result):
    """One score per pair, in the order of `second`. `calibrated`: see `MatchScores`; `None` where no ITM was needed."""

    scores: tuple[float, ...]
    calibrated: tuple[float | None, ...]


async def score(request: ScoreRequest, caller: Caller, sessions: Sessions) -> ScoreResult:
    """Scores the request's pairs. Raises `ServiceError`s that name the request's fields."""
    result = await match(_as_match(request), caller, sessions)
    scores = tuple(relevance(pair.score, request.rank_by) for pair in result.pairs)
    return ScoreResult(
        scores,
        tuple(pair.score.calibrated_score for pair in result.pairs),
        model=result.model,
        protocol=result.protocol,
        service_tier=result.service_tier,
        usage=result.usage,
        timings=result.timings,
    )


def _as_match(request: ScoreRequest) -> MatchRequest:
    """The same pairs in the same order. Raises `InvalidInput` if the inputs are empty or cannot be paired."""
    check_any(first=request.first, second=request.second)
    first, second, scores = request.first, request.second, NEEDED[request.rank_by]
    if len(first) not in (1, len(second)):
        raise InvalidInput(
            f"{len(first)} and {len(second)} entries make no pairs: give one and any number, or as many.",
            param=field_of(second),
        )
    one_to_many = len(first) == 1
    pairs = [_pair(a, b) for a, b in zip(first * len(second) if one_to_many else first, second, strict=True)]
    images, texts = split((*first, *second)) if one_to_many else zip(*pairs, strict=True)
    return MatchRequest(
        images,
        texts,
        "cross" if one_to_many else "zip",
        scores,
        model=request.model,
        protocol=request.protocol,
        service_tier=request.service_tier,
    )


def _pair(first: Input, second: Input) -> tuple[ImageSource, Caption]:
    """The image and the text. Raises `InvalidInput` if both are of the same kind."""
    if isinstance(first, Caption) and not isinstance(second, Caption):
        return second, first
    if isinstance(second, Caption) and not isinstance(first, Caption):
        return first, second
    raise same_kind(second)
