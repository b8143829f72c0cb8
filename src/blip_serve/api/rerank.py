"""`POST /v1/rerank`, `/v2/rerank` and `/rerank`: Cohere's and Jina's, between texts and images."""

import uuid
from functools import partial
from typing import Any, Literal

from pydantic import BaseModel, Field

from blip_serve.api.endpoint import Body, Endpoint, Others, Translation, anything, only
from blip_serve.api.inputs import EXAMPLE_IMAGE, Inputs, OneInput, entries, read_input
from blip_serve.api.match import CALIBRATED
from blip_serve.api.usage import InputUsage, input_usage
from blip_serve.domain import ScoringProtocol
from blip_serve.settings import HARD_LIMIT, Settings
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


class RerankBody(Body):
    """A text and images to order by it, or an image and texts."""

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
    calibrated_score: float | None = Field(None, description=CALIBRATED)


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


def _translate(body: RerankBody, settings: Settings) -> Translation[RerankRequest, RerankResult]:
    given = entries(body.documents, "documents")
    documents = tuple(read_input(entry, param) for param, entry in given)
    request = RerankRequest(
        read_input(body.query, "query"),
        documents,
        body.rank_by,
        body.top_n,
        body.shortlist,
        model=body.model,
        protocol=body.protocol,
        service_tier=body.service_tier or "auto",
    )
    echoes = [_echo(entry) for _, entry in given] if body.return_documents else None
    return Translation(request, partial(_answer, echoes=echoes))


def _echo(entry: Any) -> Any:
    """A document as the answer shows it."""
    return {"text": entry} if isinstance(entry, str) else entry


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
        calibrated_score=document.score.calibrated_score,
    )


def _meta(usage: Usage) -> Meta:
    return Meta(
        api_version=ApiVersion(version="2"),
        tokens=MetaTokens(input_tokens=usage.given),
        cached_tokens=usage.cached_tokens,
    )


ENDPOINT = Endpoint(
    name="rerank",
    paths={
        "/v1/rerank": "Order images by a text, or texts by an image",
        "/v2/rerank": "The same, where Cohere's client looks for it",
        "/rerank": "The same, for clients that know no version",
    },
    description="The most relevant documents first; `relevance_score` is the number they are sorted by.",
    body=RerankBody,
    others=OTHERS,
    translate=_translate,
    response=RerankResponse,
    example={
        "query": {"image": EXAMPLE_IMAGE},
        "documents": ["a blue square", "a red circle"],
        "top_n": 1,
    },
)
