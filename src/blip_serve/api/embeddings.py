"""`POST /v1/embeddings`: OpenAI's, for texts and images in one space."""

from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from blip_serve.api.body import STRICT, Others, anything, documented, read_json
from blip_serve.api.context import caller_of, tasks_of
from blip_serve.api.errors import ErrorEnvelope
from blip_serve.api.images import EXAMPLE_IMAGE
from blip_serve.api.inputs import Inputs, read_inputs
from blip_serve.api.timing import timed
from blip_serve.api.usage import InputUsage, input_usage
from blip_serve.api.vectors import packed
from blip_serve.domain import ScoringProtocol
from blip_serve.errors import InvalidInput
from blip_serve.tasks.embed import EmbedRequest, EmbedResult

OTHERS: Others = {"user": anything}

EncodingFormat = Literal["float", "base64"]


class EmbeddingsBody(BaseModel):
    """Texts and images to embed."""

    model_config = STRICT

    model: str | None = Field(None, description="the configured default where absent", examples=["demo"])
    input: Inputs
    dimensions: int | None = Field(None, ge=1, description="the model's width, if given")
    encoding_format: EncodingFormat | None = Field(None, description="`float` (default), or `base64`: little-endian")
    protocol: ScoringProtocol | None = Field(None, description="`hf` or `paper`: how a text is read; see the README")


class Embedding(BaseModel):
    """One input's unit vector."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str = Field(description="numbers, or the base64 of little-endian float32")


class EmbeddingsResponse(BaseModel):
    """Unit vectors, in the order of the inputs."""

    object: Literal["list"] = "list"
    model: str
    protocol: ScoringProtocol
    data: list[Embedding]
    usage: InputUsage


_EXAMPLE = {"input": ["a red circle", {"image": EXAMPLE_IMAGE}]}

router = APIRouter()


@router.post(
    "/v1/embeddings",
    summary="Embed texts and images",
    responses={200: {"model": EmbeddingsResponse}, "4XX": {"model": ErrorEnvelope}, "5XX": {"model": ErrorEnvelope}},
    openapi_extra=documented(EmbeddingsBody, _EXAMPLE),
)
async def embeddings(request: Request) -> Response:
    """Unit vectors of texts and images in one space: their dot product is the cosine.

    A string is a text, a bare URL too: an image by URL is an object, `{"url": ...}`.
    """
    body = await read_json(request, EmbeddingsBody, OTHERS)
    _refuse_tokens(body.input)
    result = await tasks_of(request).run(
        EmbedRequest(read_inputs(body.input, "input"), body.dimensions, model=body.model, protocol=body.protocol),
        caller_of(request),
    )
    return timed(_answer(result, body.encoding_format or "float"), result.timings)


def _refuse_tokens(value: Any) -> None:
    """Some clients cut texts into OpenAI's tokens before they send them; these mean nothing to a BLIP model."""
    if isinstance(value, list) and value and isinstance(value[0], int | list):
        raise InvalidInput(
            "Token arrays cannot be read: send the texts themselves. In LangChain: "
            "OpenAIEmbeddings(check_embedding_ctx_length=False).",
            code="unsupported_input",
            param="input",
        )


def _answer(result: EmbedResult, encoding_format: EncodingFormat) -> EmbeddingsResponse:
    return EmbeddingsResponse(
        model=result.model,
        protocol=result.protocol,
        data=[
            Embedding(index=index, embedding=list(vector) if encoding_format == "float" else packed(vector))
            for index, vector in enumerate(result.vectors)
        ],
        usage=input_usage(result.usage),
    )
