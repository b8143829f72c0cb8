"""`GET /v1/models` and `/v1/models/{id}`: the catalogue, with cards and states."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Path, Request
from pydantic import BaseModel, Field

from blip_serve.api.context import tasks_of
from blip_serve.api.errors import ErrorEnvelope
from blip_serve.directory import ModelStatus, State
from blip_serve.domain import ScoringProtocol, Task


class Inputs(BaseModel):
    """What the model reads."""

    image_size: int = Field(description="side of the square every image is resized to, pixels")
    image_tokens: int = Field(description="vision tokens of an image")
    text_tokens: int = Field(description="longest text, tokens")


class Model(BaseModel):
    """A model, as OpenAI's SDK reads it, and its card."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="when the checkpoint was published, Unix seconds; 0 where unknown")
    owned_by: str
    state: State
    error: str | None = Field(description="why it could not be loaded")
    aliases: list[str]
    preload: bool
    tasks: list[Task] | None = Field(description="null until it is loaded, where the catalogue does not know it")
    protocol: ScoringProtocol = Field(description="scoring protocol where a request names none")
    architecture: str | None
    description: str
    license: str | None
    parameters: int | None = Field(description="tied weights counted once")
    inputs: Inputs | None
    memory_bytes: dict[str, int] = Field(description="what the weights take, by number type")
    metrics: dict[str, Any] = Field(description="figures measured on the checkpoint, as its own card gives them")


class ModelList(BaseModel):
    """Every model the service knows."""

    object: Literal["list"] = "list"
    data: list[Model]


router = APIRouter(responses={"4XX": {"model": ErrorEnvelope}})


@router.get("/v1/models", summary="List models")
async def models(request: Request) -> ModelList:
    """The catalogue, with each model's card and state."""
    return ModelList(data=[model_page(status) for status in tasks_of(request).models()])


@router.get("/v1/models/{name:path}", summary="Show a model")
async def model(name: Annotated[str, Path(examples=["demo"])], request: Request) -> Model:
    """One model, by its id (which may hold a slash), its id without the owner, or an alias."""
    if not name:  # the path of a model, less the model
        raise HTTPException(404)
    return model_page(tasks_of(request).model(name))


def model_page(status: ModelStatus) -> Model:
    """A model as its page."""
    card = status.card
    shape = card.shape
    return Model(
        id=status.id,
        created=card.created,
        owned_by=status.id.partition("/")[0],
        state=status.state,
        error=status.error,
        aliases=list(status.aliases),
        preload=status.preload,
        tasks=None if card.tasks is None else list(card.tasks),
        protocol=status.protocol,
        architecture=card.architecture,
        description=card.description,
        license=card.licence,
        parameters=card.parameters,
        inputs=shape
        and Inputs(image_size=shape.image_size, image_tokens=shape.image_tokens, text_tokens=shape.text_positions),
        memory_bytes=dict(card.memory),
        metrics=dict(card.metrics),
    )
