"""Embeds texts and images as unit vectors in one space."""

from dataclasses import dataclass
from typing import ClassVar

from blip_serve.catalogue import ModelCard
from blip_serve.domain import Caller, Caption, EmbedItem, ImageBytes, Prepared, Task, request_cost
from blip_serve.errors import InvalidInput
from blip_serve.tasks.inputs import Input, check_any, check_inputs, split
from blip_serve.tasks.request import Request, Result, Usage, usage_of
from blip_serve.tasks.session import Session, Sessions, all_of

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class EmbedRequest(Request["EmbedResult"]):
    """`dimensions`, if given, must be the width of the model's vectors. `dimensions_param`: its field."""

    needs: ClassVar[tuple[Task, ...]] = ("embed",)

    inputs: tuple[Input, ...]
    dimensions: int | None = None
    dimensions_param: str = "dimensions"


@dataclass(frozen=True, slots=True)
class EmbedResult(Result):
    """One unit vector per input, in order."""

    vectors: tuple[Vector, ...]


@dataclass(frozen=True, slots=True)
class Embedded:
    """One input as it was loaded and prepared, and its vector."""

    source: Caption | ImageBytes
    prepared: Prepared
    vector: Vector


async def embed(request: EmbedRequest, caller: Caller, sessions: Sessions) -> EmbedResult:
    """The inputs' vectors. Raises `ServiceError`s that name the request's fields."""
    check_any(inputs=request.inputs)
    images, texts = split(request.inputs)
    check_inputs(images, texts, sessions.limits)
    async with sessions.open(request, caller, request_cost(len(images), len(texts))) as session:
        _check_width(request, session.lease.card)
        found = await all_of([_embed(session, each) for each in request.inputs])
        return EmbedResult(tuple(each.vector for each in found), **session.served(_usage(found)))


async def _embed(session: Session, source: Input) -> Embedded:
    loaded = source if isinstance(source, Caption) else await session.load(source)
    prepared, [vector] = await session.run(EmbedItem(loaded, session.protocol))
    return Embedded(loaded, prepared, vector)


def _check_width(request: EmbedRequest, card: ModelCard) -> None:
    if request.dimensions is None or card.shape is None or request.dimensions == card.shape.joint_width:
        return
    raise InvalidInput(
        f"The vectors of '{card.id}' have {card.shape.joint_width} dimensions; no others can be had.",
        param=request.dimensions_param,
    )


def _usage(found: list[Embedded]) -> Usage:
    images = [(each.source.digest, each.prepared) for each in found if isinstance(each.source, ImageBytes)]
    return usage_of(images, sum(sum(each.prepared.text_tokens) for each in found))
