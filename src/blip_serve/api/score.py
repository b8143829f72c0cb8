"""`POST /v1/score` and `/score`: vLLM's, one score a pair of a text and an image."""

import time
import uuid
from typing import Literal

from pydantic import BaseModel, Field

from blip_serve.api.endpoint import Body, Endpoint, Others, Translation, anything, only
from blip_serve.api.inputs import EXAMPLE_IMAGE, Inputs, read_inputs
from blip_serve.api.match import CALIBRATED
from blip_serve.api.usage import InputUsage, input_usage
from blip_serve.domain import ScoringProtocol
from blip_serve.errors import InvalidInput
from blip_serve.settings import Settings
from blip_serve.tasks.inputs import Input
from blip_serve.tasks.relevance import RankBy
from blip_serve.tasks.score import ScoreRequest, ScoreResult

OTHERS: Others = {"priority": anything, "truncate_prompt_tokens": only(None), "user": anything}

SIDES = (("queries", "items"), ("queries", "documents"), ("text_1", "text_2"), ("data_1", "data_2"))
"""vLLM's names for the two sides. Each may hold texts or images."""


class ScoreBody(Body):
    """Two sides to pair: the one of the first with every one of the second, or as many, first with first."""

    queries: Inputs | None = None
    items: Inputs | None = None
    documents: Inputs | None = None
    text_1: Inputs | None = None
    text_2: Inputs | None = None
    data_1: Inputs | None = None
    data_2: Inputs | None = None
    rank_by: RankBy = Field(
        "itm",
        description="`itm`: probability of a match, 0..1; `cosine`: -1..1; `paper`: match logit + cosine, unbounded",
    )
    protocol: ScoringProtocol | None = Field(None, description="`hf` or `paper`; see the README")


class PairScore(BaseModel):
    """The score of one pair."""

    index: int
    object: Literal["score"] = "score"
    score: float
    calibrated_score: float | None = Field(None, description=CALIBRATED)


class ScoreResponse(BaseModel):
    """A score a pair, in order."""

    id: str
    object: Literal["list"] = "list"
    created: int
    model: str
    protocol: ScoringProtocol
    data: list[PairScore]
    usage: InputUsage


def _translate(body: ScoreBody, settings: Settings) -> Translation[ScoreRequest, ScoreResult]:
    first, second = _sides(body)
    request = ScoreRequest(
        first,
        second,
        body.rank_by,
        model=body.model,
        protocol=body.protocol,
        service_tier=body.service_tier or "auto",
    )
    return Translation(request, _answer)


def _sides(body: ScoreBody) -> tuple[tuple[Input, ...], tuple[Input, ...]]:
    """The two sides, whatever their names. Raises `InvalidInput` where one is missing or given twice."""
    given = {name: value for names in SIDES for name in names if (value := getattr(body, name)) is not None}
    first, second = max(SIDES, key=lambda names: len(given.keys() & names))
    for name in (first, second):
        if name not in given:
            raise InvalidInput(f"'{name}' is required.", code="missing_required_parameter", param=name)
    if other := given.keys() - {first, second}:
        raise InvalidInput(f"Give '{first}' and '{second}', or other names for them.", param=min(other))
    return read_inputs(given[first], first), read_inputs(given[second], second)


def _answer(result: ScoreResult) -> ScoreResponse:
    return ScoreResponse(
        id=f"score-{uuid.uuid4().hex}",
        created=int(time.time()),
        model=result.model,
        protocol=result.protocol,
        data=[
            PairScore(index=index, score=number, calibrated_score=calibrated)
            for index, (number, calibrated) in enumerate(zip(result.scores, result.calibrated, strict=True))
        ],
        usage=input_usage(result.usage),
    )


ENDPOINT = Endpoint(
    name="score",
    paths={
        "/v1/score": "Score pairs of a text and an image",
        "/score": "The same, where vLLM's clients look for it",
    },
    description="One number a pair: by default the probability of a match.",
    body=ScoreBody,
    others=OTHERS,
    translate=_translate,
    response=ScoreResponse,
    example={"queries": {"image": EXAMPLE_IMAGE}, "items": ["a red circle", "a blue square"]},
)
