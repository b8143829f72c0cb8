"""`POST /v1/match`: its types, and the translation to the task and back, from JSON or a form."""

import time
import uuid
from collections.abc import Sequence
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, Field
from starlette.datastructures import FormData

from blip_serve.api.body import validated
from blip_serve.api.endpoint import NOTHING_ELSE, Body, Endpoint, Form, Translation
from blip_serve.api.errors import ErrorBody, shown
from blip_serve.api.form import list_field, only_fields, text_field
from blip_serve.api.inputs import EXAMPLE_IMAGE, Image, image_or_fault, image_source, one_or_many
from blip_serve.api.usage import InputUsage, input_usage
from blip_serve.domain import Caption, ScoreName, ScoringProtocol, ServiceTier
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import BytesImage, ImageSource
from blip_serve.settings import HARD_LIMIT, Settings
from blip_serve.tasks.match import MatchRequest, MatchResult, OnError, Pairing, check_size

CALIBRATED = "probability of a true pair, 0..1; absent unless the model has a calibration for the protocol"


class MatchOptions(Body):
    """How to score."""

    pairing: Pairing = Field("cross", description="every image with every caption, or first with first")
    on_error: OnError = Field(
        "request",
        description="`item`: what is wrong with a pair is told in its place, and the others are scored; so are those "
        "that the request's time did not suffice for",
    )
    protocol: ScoringProtocol | None = Field(
        None, description="`hf` (the model cards' code) or `paper`; see the README"
    )
    scores: Annotated[list[ScoreName], Field(min_length=1, max_length=8, fail_fast=True)] = Field(
        ["itm", "cosine"], description="asking for one skips the other's work"
    )


class MatchBody(MatchOptions):
    """Images and captions to score."""

    image: Image | None = None
    images: Annotated[list[Image], Field(min_length=1, max_length=HARD_LIMIT, fail_fast=True)] | None = None
    caption: str | None = Field(None, examples=["a large red circle"])
    captions: Annotated[list[str], Field(min_length=1, max_length=HARD_LIMIT, fail_fast=True)] | None = None


class Match(BaseModel):
    """The scores of one pair."""

    object: Literal["match"] = "match"
    index: int
    image_index: int
    caption_index: int
    itm_score: float | None = Field(None, description="probability of a match, 0..1")
    itm_logits: tuple[float, float] | None = Field(None, description="[no match, match]")
    cosine_score: float | None = Field(None, description="-1..1; no probability")
    calibrated_score: float | None = Field(None, description=CALIBRATED)
    error: ErrorBody | None = Field(None, description="why there are no scores; with `on_error: item` only")


class MatchResponse(BaseModel):
    """Scores, ordered by image, then by caption."""

    id: str
    object: Literal["list"] = "list"
    created: int
    model: str
    protocol: ScoringProtocol
    data: list[Match]
    usage: InputUsage


def _translate(body: MatchBody, settings: Settings) -> Translation[MatchRequest, MatchResult]:
    images = one_or_many("image", body.image, body.images)
    captions = one_or_many("caption", body.caption, body.captions)
    check_size(body.pairing, len(images), len(captions), settings.limits)
    read = image_or_fault if body.on_error == "item" else image_source
    return _translation(body, [read(value, param) for param, value in images], captions)


async def _translate_form(form: FormData, settings: Settings) -> Translation[MatchRequest, MatchResult]:
    only_fields(form, frozenset(MatchBody.model_fields))
    given: dict[str, object] = {
        name: values if name == "scores" else _single(name, values)
        for name in MatchOptions.model_fields
        if (values := text_field(form, name))
    }
    options = validated(MatchOptions, given)
    images = one_or_many("image", form.getlist("image"), form.getlist("images"))
    listed = list_field(form, "captions", settings.server.max_json_values)
    captions = one_or_many("caption", text_field(form, "caption"), listed)
    check_size(options.pairing, len(images), len(captions), settings.limits)
    read = image_or_fault if options.on_error == "item" else image_source
    sources: list[ImageSource] = [
        read(value, param) if isinstance(value, str) else BytesImage(await value.read(), param)
        for param, value in images
    ]
    return _translation(options, sources, captions)


def _single(name: str, values: list[str]) -> str:
    if len(values) > 1:
        raise InvalidInput(f"'{name}' is given more than once.", param=name)
    return values[0]


def _translation(
    options: MatchOptions, images: Sequence[ImageSource], captions: Sequence[tuple[str, str]]
) -> Translation[MatchRequest, MatchResult]:
    """`captions`: each after the path of its field."""
    request = MatchRequest(
        tuple(images),
        tuple(Caption(text, param) for param, text in captions),
        options.pairing,
        frozenset(options.scores),
        options.on_error,
        model=options.model,
        protocol=options.protocol,
        service_tier=options.service_tier or "auto",
    )
    return Translation(request, _answer)


def _answer(result: MatchResult) -> MatchResponse:
    return MatchResponse(
        id=f"match-{uuid.uuid4().hex}",
        created=int(time.time()),
        model=result.model,
        protocol=result.protocol,
        data=[
            Match(
                index=index,
                image_index=pair.image_index,
                caption_index=pair.caption_index,
                itm_score=pair.score.itm_score,
                itm_logits=pair.score.itm_logits,
                cosine_score=pair.score.cosine_score,
                calibrated_score=pair.score.calibrated_score,
                error=pair.error and shown(pair.error),
            )
            for index, pair in enumerate(result.pairs)
        ],
        usage=input_usage(result.usage),
    )


ENDPOINT = Endpoint(
    name="match",
    paths={"/v1/match": "Score images against captions"},
    description="ITM probability and cosine of images x captions.",
    body=MatchBody,
    others=NOTHING_ELSE,
    translate=_translate,
    response=MatchResponse,
    example={"image": EXAMPLE_IMAGE, "captions": ["a red circle", "a blue square"]},
    form=Form(
        translate=_translate_form,
        schema={
            "type": "object",
            "properties": {
                "image": {"type": "array", "items": {"type": "string", "format": "binary"}},
                "caption": {"type": "array", "items": {"type": "string"}},
                "model": {"type": "string"},
                "service_tier": {"enum": list(get_args(ServiceTier))},
                "pairing": {"enum": ["cross", "zip"]},
                "on_error": {"enum": ["request", "item"]},
                "protocol": {"enum": ["hf", "paper"]},
                "scores": {"type": "array", "items": {"enum": ["itm", "cosine"]}},
            },
            "required": ["image", "caption"],
        },
        example={"image": [EXAMPLE_IMAGE], "caption": ["a red circle", "a blue square"]},
    ),
)
