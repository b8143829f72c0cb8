"""A model as `/v1/models` and the command line show it. Knows no HTTP."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field

from blip_serve.directory import ModelStatus, State
from blip_serve.domain import Layer, ScoringProtocol, Task
from blip_serve.findings import Finding
from blip_serve.fit import Fit, fits_of


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
    parent: str | None = Field(description="the model that this is the plain form of: loaded once, for both")
    preload: bool
    tasks: list[Task] | None = Field(description="null until it is loaded, where the catalogue does not know it")
    protocol: ScoringProtocol = Field(description="scoring protocol where a request names none")
    architecture: str | None
    description: str
    license: str | None
    parameters: int | None = Field(description="tied weights counted once")
    inputs: Inputs | None
    memory_bytes: dict[str, int] = Field(description="what the weights take, by number type")
    explain_layer: Layer | None = Field(
        description="layer of the text tower that `/v1/explain` reads by default; null until it is loaded, where the "
        "catalogue does not know it"
    )
    metrics: dict[str, Any] = Field(description="figures measured on the checkpoint, as its own card gives them")


class ModelList(BaseModel):
    """Every model the service knows."""

    object: Literal["list"] = "list"
    data: list[Model]


class ModelPage(Model):
    """A model, its card, and what was found out about it on this machine."""

    fit: list[Fit] = Field(
        description="what it takes of memory by number type, and how fast it should be: what `blip-serve models --fit` "
        "found, or what the service knows of a model that it has loaded"
    )
    findings: list[Finding] = Field(description="what commands measured, the newest first")


def full_page(status: ModelStatus, findings: Sequence[Finding]) -> ModelPage:
    """A model as the page of its own. `findings`: those of the model."""
    shown = [finding for finding in findings if finding.kind != "fit"]
    fit = fits_of(findings, status.footprint)
    return ModelPage(**model_page(status).model_dump(), fit=fit, findings=shown)


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
        parent=status.parent,
        preload=status.preload,
        tasks=card.architecture and list(card.architecture.tasks),
        protocol=status.protocol,
        architecture=card.architecture and card.architecture.name,
        description=card.description,
        license=card.licence,
        parameters=card.parameters,
        inputs=shape
        and Inputs(image_size=shape.image_size, image_tokens=shape.image_tokens, text_tokens=shape.text_positions),
        memory_bytes=dict(card.memory),
        explain_layer=card.explain_layer,
        metrics=dict(card.metrics),
    )
