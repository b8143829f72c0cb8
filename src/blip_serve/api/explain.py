"""`POST /v1/explain`: where an image shows the words of a caption, as grids of numbers or as pictures."""

import time
import uuid
from itertools import repeat
from typing import Annotated, Literal

import pybase64
from pydantic import BaseModel, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from blip_serve.api.endpoint import NOTHING_ELSE, Body, Endpoint, Translation
from blip_serve.api.inputs import EXAMPLE_IMAGE, Image, image_source, one_or_many
from blip_serve.api.usage import InputUsage, input_usage
from blip_serve.domain import Caption, ExplainMethod, Layer, Per, ScoringProtocol, WordMap
from blip_serve.settings import HARD_LIMIT, Settings
from blip_serve.tasks.explain import Explained, ExplainRequest, ExplainResult, Format, check_explanations


def _checked_layer(value: object) -> object:
    """Checked by hand: pydantic's unions put their branches into the path of the field."""
    if value is None or value == "all" or type(value) is int:
        return value
    raise PydanticCustomError("layer_type", "it must be an index or 'all'")


class ExplainBody(Body):
    """Images and captions to explain."""

    image: Image | None = None
    images: Annotated[list[Image], Field(min_length=1, max_length=HARD_LIMIT, fail_fast=True)] | None = None
    caption: str | None = Field(None, examples=["a large red circle"])
    captions: Annotated[list[str], Field(min_length=1, max_length=HARD_LIMIT, fail_fast=True)] | None = None
    question: str | None = Field(
        None, description="for a model that answers questions, and required there: the captions are answers to it"
    )
    method: ExplainMethod | None = Field(
        None,
        description="`gradcam`: attention times its effect on the match score, by default where the model has one; "
        "`attention`: attention alone",
    )
    layer: Annotated[Layer | None, BeforeValidator(_checked_layer)] = Field(
        None, description="of the text tower, from 0, or `all`: their sum; by default the model card's"
    )
    per: Per = Field("word", description="a map for each word, or for the caption: the mean of its words")
    format: Format = Field("grid", description="`grid`: numbers; `png`: a transparent picture to lay over the image")
    protocol: ScoringProtocol | None = Field(None, description="`hf` or `paper`; see the README")


class WordHeat(BaseModel):
    """Where the image shows a word."""

    word: str
    start: int = Field(description="its place in the caption, in characters (code points)")
    end: int
    maximum: float = Field(description="the number that 1 stands for: to compare words")
    map: tuple[tuple[float, ...], ...] | None = Field(
        None, description="rows of numbers, 0..1, over the upright image; with `format: grid`"
    )
    image: str | None = Field(None, description="the map as a data URI; with `format: png`")


class Explanation(BaseModel):
    """The maps of one image and one caption."""

    object: Literal["explanation"] = "explanation"
    index: int
    image_index: int
    caption_index: int
    itm_score: float | None = Field(description="probability of a match; null if the model does not match")
    itm_logits: tuple[float, float] | None = Field(description="[no match, match]")
    method: ExplainMethod
    layer: Layer
    width: int = Field(description="pixels of the upright image")
    height: int
    words: list[WordHeat]


class ExplainResponse(BaseModel):
    """Explanations, ordered by image, then by caption."""

    id: str
    object: Literal["list"] = "list"
    created: int
    model: str
    protocol: ScoringProtocol
    data: list[Explanation]
    usage: InputUsage


def _translate(body: ExplainBody, settings: Settings) -> Translation[ExplainRequest, ExplainResult]:
    images = one_or_many("image", body.image, body.images)
    captions = one_or_many("caption", body.caption, body.captions)
    check_explanations(len(images), len(captions), settings.limits, "captions" if body.captions else "images")
    request = ExplainRequest(
        tuple(image_source(value, param) for param, value in images),
        tuple(Caption(text, param) for param, text in captions),
        None if body.question is None else Caption(body.question, "question"),
        body.method,
        body.layer,
        body.per,
        body.format,
        model=body.model,
        protocol=body.protocol,
        service_tier=body.service_tier or "auto",
    )
    return Translation(request, _answer)


def _answer(result: ExplainResult) -> ExplainResponse:
    return ExplainResponse(
        id=f"explain-{uuid.uuid4().hex}",
        created=int(time.time()),
        model=result.model,
        protocol=result.protocol,
        data=[_explanation(index, explained) for index, explained in enumerate(result.explanations)],
        usage=input_usage(result.usage),
    )


def _explanation(index: int, explained: Explained) -> Explanation:
    found = explained.explanation
    width, height = found.size
    return Explanation(
        index=index,
        image_index=explained.image_index,
        caption_index=explained.caption_index,
        itm_score=found.itm_score,
        itm_logits=found.itm_logits,
        method=found.method,
        layer=found.layer,
        width=width,
        height=height,
        words=[_word(word, layer) for word, layer in zip(found.words, explained.layers or repeat(b""), strict=False)],
    )


def _word(word: WordMap, layer: bytes) -> WordHeat:
    heat = WordHeat(word=word.word, start=word.start, end=word.end, maximum=word.maximum)
    if layer:
        heat.image = f"data:image/png;base64,{pybase64.b64encode_as_string(layer)}"
    else:
        heat.map = word.map
    return heat


ENDPOINT = Endpoint(
    name="explain",
    paths={"/v1/explain": "Explain a match: where an image shows each word"},
    description="Maps of words over images: what in an image moved the match score, or is attended to.",
    body=ExplainBody,
    others=NOTHING_ELSE,
    translate=_translate,
    response=ExplainResponse,
    example={"image": EXAMPLE_IMAGE, "caption": "a red circle"},
)
