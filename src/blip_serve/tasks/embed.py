"""Texts and images to unit vectors in one space."""

from dataclasses import dataclass
from typing import ClassVar

from blip_serve.catalogue import ModelCard
from blip_serve.domain import Caption, EmbedItem, ImageBytes, Prepared, ScoringProtocol, Task
from blip_serve.errors import InvalidInput
from blip_serve.settings import LimitSettings, request_cost
from blip_serve.tasks.inputs import Input, check_any, check_inputs, split
from blip_serve.tasks.session import Session, Sessions, Timings, all_of
from blip_serve.tasks.usage import Usage, usage_of

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """What to embed; `dimensions`, where given, must be the model's width; `dimensions_param` is the request's field.

    `model` and `protocol` are the configured ones where `None`.
    """

    inputs: tuple[Input, ...]
    dimensions: int | None = None
    model: str | None = None
    protocol: ScoringProtocol | None = None
    dimensions_param: str = "dimensions"


@dataclass(frozen=True, slots=True)
class EmbedResult:
    """A unit vector an input, in order."""

    model: str
    protocol: ScoringProtocol
    vectors: tuple[Vector, ...]
    usage: Usage
    timings: Timings


@dataclass(frozen=True, slots=True)
class Embedded:
    """What came of one input: what was loaded and prepared, and its vector."""

    source: Caption | ImageBytes
    prepared: Prepared
    vector: Vector


class Embed:
    """The task; `needs`: what its model must do, one of them."""

    needs: ClassVar[tuple[Task, ...]] = ("embed",)

    def __init__(self, sessions: Sessions, limits: LimitSettings) -> None:
        self._sessions = sessions
        self._limits = limits

    async def run(self, request: EmbedRequest) -> EmbedResult:
        """The inputs' vectors. Raises `ServiceError`s that name the request's fields."""
        check_any(inputs=request.inputs)
        images, texts = split(request.inputs)
        check_inputs(images, texts, self._limits)
        async with self._sessions.open(request.model, self.needs, request_cost(len(images), len(texts))) as session:
            _check_width(request, session.lease.card)
            protocol = request.protocol or session.lease.protocol
            found = await all_of([_embed(session, each, protocol) for each in request.inputs])
            vectors = tuple(each.vector for each in found)
            return EmbedResult(session.lease.id, protocol, vectors, session.used(_usage(found)), session.timings)


async def _embed(session: Session, source: Input, protocol: ScoringProtocol) -> Embedded:
    loaded = source if isinstance(source, Caption) else await session.load(source)
    prepared, [vector] = await session.run(EmbedItem(loaded, protocol))
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
