"""Generates texts from an image: captions, with or without a beginning, and answers to a question.

A text is generated freely, or is the likeliest of the texts that the request gives. It comes whole or piece by piece.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from blip_serve.catalogue import ModelCard
from blip_serve.domain import (
    Caller,
    Caption,
    GeneratedText,
    GenerateItem,
    GenerationOptions,
    ImageBytes,
    Piece,
    Prepared,
    RankItem,
    ScoringProtocol,
    Task,
    generation_cost,
    request_cost,
)
from blip_serve.images.reference import ImageSource
from blip_serve.tasks.inputs import check_distinct, check_length
from blip_serve.tasks.options import checked
from blip_serve.tasks.request import Request, Result, ServedTier, Usage, usage_of
from blip_serve.tasks.session import Sessions


@dataclass(frozen=True, slots=True)
class Given:
    """A text to choose from. `text`: what the model reads. `shown`: what the client gets if it is the likeliest."""

    text: Caption
    shown: str


CARD = GenerationOptions()
"""How the model cards generate: greedily, at most 20 tokens."""


@dataclass(frozen=True, slots=True)
class GenerateRequest(Request["GenerateResult"]):
    """`n` texts from one image.

    `text`: for a captioning model the beginning of the caption (a `:plain` model ignores it), for an answering model
    the question. `options.max_tokens`: an upper bound; the settings and the model may allow less.
    `given`: texts to choose from. The likeliest is the answer, and `options` for sampling, length and stop have no
    effect. `logprobs_param`: the request's field that asks for log-probabilities.
    """

    needs: ClassVar[tuple[Task, ...]] = ("caption", "answer")

    image: ImageSource
    text: Caption
    options: GenerationOptions = CARD
    n: int = 1
    logprobs_param: str = "logprobs"
    given: tuple[Given, ...] = ()


@dataclass(frozen=True, slots=True)
class CaptionRequest(GenerateRequest):
    """A request for a captioning model, even if it does not name a model."""

    needs: ClassVar[tuple[Task, ...]] = ("caption",)


@dataclass(frozen=True, slots=True)
class AnswerRequest(GenerateRequest):
    """A request for a model that answers questions, even if it does not name a model."""

    needs: ClassVar[tuple[Task, ...]] = ("answer",)


@dataclass(frozen=True, slots=True)
class GenerateResult(Result):
    """The texts. The index of a text is its choice number."""

    texts: tuple[GeneratedText, ...]

    @property
    def text(self) -> str:
        """The first text."""
        return self.texts[0].text


@dataclass(frozen=True, slots=True)
class Began:
    """The first event of a stream. The request was admitted, its image was read, and its works are queued."""

    model: str
    protocol: ScoringProtocol
    usage: Usage
    service_tier: ServedTier = "default"


Event = Began | Piece | GenerateResult
"""The events of a stream: one `Began`, then pieces, then the result."""


async def generate(request: GenerateRequest, caller: Caller, sessions: Sessions) -> GenerateResult:
    """The request's texts. Raises `ServiceError`s that name the request's fields."""
    return await _generate(request, caller, sessions)


async def stream(request: GenerateRequest, caller: Caller, sessions: Sessions) -> AsyncGenerator[Event, None]:
    """Yields the texts as they are generated. The pieces of a text, joined, are the text.

    Raises what `generate` raises; an error of the request itself comes before the first event. Close the generator to
    end the request. A slow reader does not block the engine: unread events wait in a queue here, and the request's
    tokens bound their number.
    """
    events: asyncio.Queue[Event | None] = asyncio.Queue()
    writer = asyncio.create_task(_generate(request, caller, sessions, events.put_nowait))
    writer.add_done_callback(lambda _: events.put_nowait(None))
    try:
        while (event := await events.get()) is not None:
            yield event
        yield writer.result()
    finally:
        writer.cancel()
        await asyncio.wait([writer])
        del writer  # its error refers to this frame


async def _generate(
    request: GenerateRequest, caller: Caller, sessions: Sessions, emit: Callable[[Event], None] | None = None
) -> GenerateResult:
    card = sessions.card(request, caller)
    given = [given.text for given in request.given]
    options = checked(request.options, request.n, given, request.logprobs_param, sessions.limits)
    request = replace(request, options=options)
    async with sessions.open(request, caller, _cost(request, card)) as session:
        text = replace(request.text, text="") if session.lease.plain else request.text
        check_length(text, sessions.limits)
        image = await session.load(request.image)
        started = await session.start(_item(request, image, text, session.protocol, emit is not None), emit)
        if given:
            check_distinct(enumerate(given, 1), started.prepared)
        usage = usage_of([(image.digest, started.prepared)], sum(started.prepared.text_tokens))
        if emit is not None:  # before all pieces: these arrive at the loop's next turn at the earliest
            emit(Began(session.lease.name, session.protocol, usage, session.service_tier))
        found = await started.results()
        texts = _likeliest(request, started.prepared, found, emit) if request.given else tuple(found)
        usage = replace(usage, generated_tokens=sum(text.tokens for text in texts))
        return GenerateResult(texts, **session.served(usage))


def _cost(request: GenerateRequest, card: ModelCard) -> int:
    """Estimated cost of a request. Counts at most as many tokens as the model has positions, if these are known."""
    if request.given:
        return request_cost(1, len(request.given))
    tokens = request.options.max_tokens
    if card.shape is not None:
        tokens = min(tokens, card.shape.text_positions)
    return generation_cost(max(request.n, request.options.num_beams), tokens)


def _item(
    request: GenerateRequest, image: ImageBytes, text: Caption, protocol: ScoringProtocol, stream: bool
) -> GenerateItem | RankItem:
    """The item for the model."""
    if request.given:
        return RankItem(image, text, tuple(given.text for given in request.given), protocol)
    return GenerateItem(image, text, request.n, request.options, protocol, stream)


def _likeliest(
    request: GenerateRequest, prepared: Prepared, likelihoods: Sequence[float], emit: Callable[[Event], None] | None
) -> tuple[GeneratedText, ...]:
    """The likeliest of the given texts, `n` times, each as one piece. Counts its tokens and one end token."""
    best = likelihoods.index(max(likelihoods))
    text = GeneratedText(request.given[best].shown, "stop", prepared.text_tokens[1 + best] + 1)
    if emit is not None:
        for choice in range(request.n):
            emit(Piece(choice, text.text, None, text.finish_reason))
    return (text,) * request.n
