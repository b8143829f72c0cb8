"""`POST /v1/embeddings`: OpenAI's, for texts and images in one space."""

from functools import partial
from typing import Any, Literal

from pydantic import BaseModel, Field

from blip_serve.api.endpoint import Body, Endpoint, Others, Translation, anything
from blip_serve.api.inputs import EXAMPLE_IMAGE, Inputs, read_inputs
from blip_serve.api.usage import InputUsage, input_usage
from blip_serve.api.vectors import packed
from blip_serve.domain import ScoringProtocol
from blip_serve.errors import InvalidInput
from blip_serve.settings import Settings
from blip_serve.tasks.embed import EmbedRequest, EmbedResult

OTHERS: Others = {"user": anything}

EncodingFormat = Literal["float", "base64"]


class EmbeddingsBody(Body):
    """Texts and images to embed."""

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


def _translate(body: EmbeddingsBody, settings: Settings) -> Translation[EmbedRequest, EmbedResult]:
    _refuse_tokens(body.input)
    request = EmbedRequest(
        read_inputs(body.input, "input"),
        body.dimensions,
        model=body.model,
        protocol=body.protocol,
        service_tier=body.service_tier or "auto",
    )
    return Translation(request, partial(_answer, encoding_format=body.encoding_format or "float"))


def _refuse_tokens(value: Any) -> None:
    """Some clients send OpenAI's tokens in place of texts. They mean nothing to a BLIP model.

    Raises `InvalidInput`.
    """
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


ENDPOINT = Endpoint(
    name="embeddings",
    paths={"/v1/embeddings": "Embed texts and images"},
    description="Unit vectors of texts and images in one space: their dot product is the cosine.\n\n"
    'A string is a text, a bare URL too: an image by URL is an object, `{"url": ...}`.',
    body=EmbeddingsBody,
    others=OTHERS,
    translate=_translate,
    response=EmbeddingsResponse,
    example={"input": ["a red circle", {"image": EXAMPLE_IMAGE}]},
)
