"""`POST /v1/embed` and `/v2/embed`: Cohere's embeddings, of texts and images in one space."""

import uuid
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from blip_serve.api.endpoint import Body, Endpoint, Others, Translation, anything, only
from blip_serve.api.inputs import EXAMPLE_IMAGE, Image, OneInput, image_source, read_input
from blip_serve.api.rerank import ApiVersion, MetaTokens
from blip_serve.api.usage import InputUsage, input_usage
from blip_serve.api.vectors import FORMS, EmbeddingType
from blip_serve.domain import ScoringProtocol
from blip_serve.errors import InvalidInput
from blip_serve.settings import HARD_LIMIT, Settings
from blip_serve.tasks.embed import EmbedRequest, EmbedResult
from blip_serve.tasks.inputs import Input

TEXT_POSITIONS = 512
"""Tokens that a text may have at most, with every BLIP model."""

OTHERS: Others = {
    "input_type": anything,  # a BLIP embeds what is searched as it embeds what is searched for
    "max_tokens": lambda value, beside: value is None or (isinstance(value, int) and value >= TEXT_POSITIONS),
    "priority": anything,
    "truncate": only(None, "NONE", "START", "END"),  # no text is cut: one that is too long is refused
}


class EmbedBody(Body):
    """Texts and images to embed; where several fields are given, they follow each other in this order."""

    texts: Annotated[list[str], Field(max_length=HARD_LIMIT, fail_fast=True)] | None = None
    images: Annotated[list[Image], Field(max_length=HARD_LIMIT, fail_fast=True)] | None = None
    inputs: Annotated[list[OneInput], Field(max_length=HARD_LIMIT, fail_fast=True)] | None = Field(
        None, description="each `content` with one part, a text or an image"
    )
    embedding_types: Annotated[list[EmbeddingType], Field(min_length=1, max_length=16, fail_fast=True)] | None = Field(
        None,
        description="`float` (default); `int8`: 127 times it, rounded; `uint8`: `int8` + 128; `ubinary`: a bit a "
        "dimension, 1 where it is above 0, the first the highest; `binary`: `ubinary` - 128; `base64`: float32",
    )
    output_dimension: int | None = Field(None, ge=1, description="the model's width, if given")
    protocol: ScoringProtocol | None = Field(None, description="`hf` or `paper`: how a text is read; see the README")


class BilledUnits(BaseModel):
    """What Cohere's older client adds up."""

    input_tokens: int


class EmbedMeta(BaseModel):
    """What Cohere's clients look at beside the vectors."""

    api_version: ApiVersion
    billed_units: BilledUnits
    tokens: MetaTokens
    cached_tokens: int


class EmbedResponse(BaseModel):
    """Unit vectors, in the order of the inputs."""

    id: str
    response_type: Literal["embeddings_floats", "embeddings_by_type"]
    embeddings: list[list[float]] | dict[EmbeddingType, list[Any]] = Field(
        description="by type; on `/v1/embed` without `embedding_types`, the vectors alone"
    )
    texts: list[str]
    model: str
    protocol: ScoringProtocol
    usage: InputUsage
    meta: EmbedMeta


_EXAMPLE = {
    "inputs": [
        {"content": [{"type": "text", "text": "a red circle"}]},
        {"content": [{"type": "image_url", "image_url": {"url": EXAMPLE_IMAGE}}]},
    ],
    "embedding_types": ["float", "ubinary"],
}


def _translate(
    body: EmbedBody, settings: Settings, version: Literal["1", "2"] = "2"
) -> Translation[EmbedRequest, EmbedResult]:
    request = EmbedRequest(
        _inputs(body),
        body.output_dimension,
        "output_dimension",
        model=body.model,
        protocol=body.protocol,
        service_tier=body.service_tier or "auto",
    )
    floats_alone = version == "1" and body.embedding_types is None
    types = None if floats_alone else body.embedding_types or ["float"]
    return Translation(request, partial(_answer, texts=body.texts or [], types=types, version=version))


def _inputs(body: EmbedBody) -> tuple[Input, ...]:
    """The inputs in order. Raises `InvalidInput` where there are none, and what `read_input` raises."""
    inputs = (
        *(read_input(text, f"texts[{i}]") for i, text in enumerate(body.texts or ())),
        *(image_source(image, f"images[{i}]") for i, image in enumerate(body.images or ())),
        *(read_input(entry, f"inputs[{i}]") for i, entry in enumerate(body.inputs or ())),
    )
    if not inputs:
        raise InvalidInput(
            "Nothing to embed: give 'texts', 'images' or 'inputs'.", code="missing_required_parameter", param="texts"
        )
    return inputs


def _answer(
    result: EmbedResult, texts: list[str], types: list[EmbeddingType] | None, version: Literal["1", "2"]
) -> EmbedResponse:
    """`types`: the forms of the vectors. `None`: one list of numbers for each, as the older client expects."""
    usage = result.usage
    return EmbedResponse(
        id=f"embed-{uuid.uuid4().hex}",
        response_type="embeddings_floats" if types is None else "embeddings_by_type",
        embeddings=[list(vector) for vector in result.vectors]
        if types is None
        else {kind: [FORMS[kind](vector) for vector in result.vectors] for kind in types},
        texts=texts,
        model=result.model,
        protocol=result.protocol,
        usage=input_usage(usage),
        meta=EmbedMeta(
            api_version=ApiVersion(version=version),
            billed_units=BilledUnits(input_tokens=usage.given),
            tokens=MetaTokens(input_tokens=usage.given),
            cached_tokens=usage.cached_tokens,
        ),
    )


ENDPOINT = Endpoint(
    name="embed_v2",
    paths={"/v2/embed": "Embed texts and images, as Cohere's client asks"},
    description="Unit vectors by type; their dot product is the cosine.",
    body=EmbedBody,
    others=OTHERS,
    translate=_translate,
    response=EmbedResponse,
    example=_EXAMPLE,
)
OLDER = replace(
    ENDPOINT,
    name="embed_v1",
    paths={"/v1/embed": "The same, as Cohere's older client asks"},
    description="Unit vectors, by type where types are asked for.",
    translate=partial(_translate, version="1"),
)
