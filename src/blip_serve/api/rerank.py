"""`POST /v1/rerank`, `/v2/rerank` and `/rerank`: Cohere's and Jina's, between texts and images."""

import uuid
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from blip_serve.api.body import STRICT, Others, anything, documented, only, read_json
from blip_serve.api.context import caller_of, tasks_of
from blip_serve.api.errors import ErrorEnvelope
from blip_serve.api.images import EXAMPLE_IMAGE
from blip_serve.api.inputs import Inputs, OneInput, entries, read_input
from blip_serve.api.timing import timed
from blip_serve.api.usage import InputUsage, input_usage
from blip_serve.domain import ScoringProtocol
from blip_serve.settings import HARD_LIMIT
from blip_serve.tasks.relevance import RankBy
from blip_serve.tasks.request import Usage
from blip_serve.tasks.rerank import RankedDocument, RerankRequest, RerankResult

OTHERS: Others = {
    "max_chunks_per_doc": anything,  # no document is cut: one that is too long is refused
    "max_tokens_per_doc": anything,
    "priority": anything,
    "rank_fields": only(None, ["text"]),
    "relevant_spans": only(None, {"mode": "disabled"}),
    "truncate_prompt_tokens": only(None),
    "user": anything,
}


class RerankBody(BaseModel):
    """A text and images to order by it, or an image and texts."""

    model_config = STRICT

    model: str | None = Field(None, description="the configured default where absent", examples=["demo"])
    query: OneInput
    documents: Inputs
    top_n: int | None = Field(None, ge=1, le=HARD_LIMIT, description="how many come back; all where absent")
    return_documents: bool | None = Field(None, description="whether the documents come back with their places")
    rank_by: RankBy = Field(
        "itm",
        description="`itm`: probability of a match, 0..1; `cosine`: -1..1; `paper`: match logit + cosine, unbounded "
        "(for the paper's own ranking ask for its `protocol` too)",
    )
    shortlist: int | None = Field(
        None,
        ge=1,
        le=HARD_LIMIT,
        description="rank all by cosine and only so many of the best by `rank_by`; only those come back",
    )
    protocol: ScoringProtocol | None = Field(None, description="`hf` or `paper`; see the README")


class RerankedDocument(BaseModel):
    """One document's place in the request, and its scores as far as they were computed."""

    index: int
    relevance_score: float = Field(description="what the results are sorted by")
    document: Any = Field(None, description='as it was given, a string as `{"text": ...}`; if asked for')
    itm_score: float | None = Field(None, description="probability of a match, 0..1")
    cosine_score: float | None = Field(None, description="-1..1; no probability")


class ApiVersion(BaseModel):
    """Of Cohere's interface."""

    version: str


class MetaTokens(BaseModel):
    """Cohere's count of what `usage` counts."""

    input_tokens: int


class Meta(BaseModel):
    """What Cohere's clients look at beside the results."""

    api_version: ApiVersion
    tokens: MetaTokens
    cached_tokens: int


class RerankResponse(BaseModel):
    """Documents, the most relevant first."""

    id: str
    object: Literal["list"] = "list"
    model: str
    protocol: ScoringProtocol
    results: list[RerankedDocument]
    usage: InputUsage
    meta: Meta


_EXAMPLE = {
    "query": {"image": EXAMPLE_IMAGE},
    "documents": ["a blue square", "a red circle"],
    "top_n": 1,
}

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": RerankResponse},
    "4XX": {"model": ErrorEnvelope},
    "5XX": {"model": ErrorEnvelope},
}

router = APIRouter()


@router.post(
    "/v1/rerank",
    summary="Order images by a text, or texts by an image",
    responses=_RESPONSES,
    openapi_extra=documented(RerankBody, _EXAMPLE),
)
@router.post(
    "/v2/rerank",
    summary="The same, where Cohere's client looks for it",
    responses=_RESPONSES,
    openapi_extra=documented(RerankBody, _EXAMPLE),
)
@router.post(
    "/rerank",
    summary="The same, for clients that know no version",
    responses=_RESPONSES,
    openapi_extra=documented(RerankBody, _EXAMPLE),
)
async def rerank(request: Request) -> Response:
    """The most relevant documents first; `relevance_score` is the number they are sorted by."""
    body = await read_json(request, RerankBody, OTHERS)
    given = entries(body.documents, "documents")
    documents = tuple(read_input(entry, place) for place, entry in given)
    query = read_input(body.query, "query")
    result = await tasks_of(request).run(
        RerankRequest(
            query, documents, body.rank_by, body.top_n, body.shortlist, model=body.model, protocol=body.protocol
        ),
        caller_of(request),
    )
    echoes = [{"text": entry} if isinstance(entry, str) else entry for _, entry in given]
    return timed(_answer(result, echoes if body.return_documents else None), result.timings)


def _answer(result: RerankResult, echoes: list[Any] | None) -> RerankResponse:
    return RerankResponse(
        id=f"rerank-{uuid.uuid4().hex}",
        model=result.model,
        protocol=result.protocol,
        results=[_result(document, echoes) for document in result.documents],
        usage=input_usage(result.usage),
        meta=_meta(result.usage),
    )


def _result(document: RankedDocument, echoes: list[Any] | None) -> RerankedDocument:
    return RerankedDocument(
        index=document.index,
        relevance_score=document.relevance,
        document=None if echoes is None else echoes[document.index],
        itm_score=document.score.itm_score,
        cosine_score=document.score.cosine_score,
    )


def _meta(usage: Usage) -> Meta:
    return Meta(
        api_version=ApiVersion(version="2"),
        tokens=MetaTokens(input_tokens=usage.given),
        cached_tokens=usage.cached_tokens,
    )
