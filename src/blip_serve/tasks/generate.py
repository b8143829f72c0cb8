"""Texts from an image: captions, with or without a beginning, and answers to a question; whole, or piece by piece.

Written, or the likeliest of those given.
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
)
from blip_serve.images.reference import ImageSource
from blip_serve.settings import generation_cost, request_cost
from blip_serve.tasks.inputs import check_distinct, check_length
from blip_serve.tasks.options import checked
from blip_serve.tasks.request import Request, Result, ServedTier, Usage, usage_of
from blip_serve.tasks.session import Sessions


@dataclass(frozen=True, slots=True)
class Given:
    """A text that may be the answer: as the model reads it, and as it is `shown` if it is the likeliest."""

    text: Caption
    shown: str


CARD = GenerationOptions()
"""How the model cards generate: greedily, at most 20 tokens."""


@dataclass(frozen=True, slots=True)
class GenerateRequest(Request["GenerateResult"]):
    """`n` texts from one image.

    `text`: a caption's beginning for a captioning model (blank: none; a plain one never has any), the question for an
    answering one. `options.max_tokens` is a ceiling: as many as the settings and the model allow. Where texts are
    `given`, the answer is the likeliest of them, whatever `options` say of drawing, lengths and ends.
    `logprobs_param` is the request's field that asks for log-probabilities.
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
    """A request that a captioning model is to answer, also where it names none."""

    needs: ClassVar[tuple[Task, ...]] = ("caption",)


@dataclass(frozen=True, slots=True)
class AnswerRequest(GenerateRequest):
    """A request that a model which answers questions is to answer, also where it names none."""

    needs: ClassVar[tuple[Task, ...]] = ("answer",)


@dataclass(frozen=True, slots=True)
class GenerateResult(Result):
    """The texts, in the order of their choices."""

    texts: tuple[GeneratedText, ...]

    @property
    def text(self) -> str:
        """The first of them."""
        return self.texts[0].text


@dataclass(frozen=True, slots=True)
class Began:
    """The first event of a stream: the request was admitted, its image read, its works queued."""

    model: str
    protocol: ScoringProtocol
    usage: Usage
    service_tier: ServedTier = "default"


Event = Began | Piece | GenerateResult
"""What a stream consists of: one `Began`, pieces, the result."""


async def generate(request: GenerateRequest, caller: Caller, sessions: Sessions) -> GenerateResult:
    """The request's texts. Raises `ServiceError`s that name the request's fields."""
    return await _generate(request, caller, sessions)


async def stream(request: GenerateRequest, caller: Caller, sessions: Sessions) -> AsyncGenerator[Event, None]:
    """The same, as it comes; the pieces of a text join to it. Closing the generator frees what is held.

    Raises what `generate` raises; whatever is wrong with the request, before the first event. A reader may be slow:
    what waits for it is bounded by the request's tokens, and takes no room in the engine.
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
        if emit is not None:  # pieces come later: they wait for the loop's next turn
            emit(Began(session.lease.name, session.protocol, usage, session.service_tier))
        found = await started.results()
        texts = _likeliest(request, started.prepared, found, emit) if request.given else tuple(found)
        usage = replace(usage, generated_tokens=sum(text.tokens for text in texts))
        return GenerateResult(texts, **session.served(usage))


def _cost(request: GenerateRequest, card: ModelCard) -> int:
    """What it is admitted at: no more tokens than the model has positions, where these are known."""
    if request.given:
        return request_cost(1, len(request.given))
    tokens = request.options.max_tokens
    if card.shape is not None:
        tokens = min(tokens, card.shape.text_positions)
    return generation_cost(max(request.n, request.options.num_beams), tokens)


def _item(
    request: GenerateRequest, image: ImageBytes, text: Caption, protocol: ScoringProtocol, stream: bool
) -> GenerateItem | RankItem:
    """What the model is asked."""
    if request.given:
        return RankItem(image, text, tuple(given.text for given in request.given), protocol)
    return GenerateItem(image, text, request.n, request.options, protocol, stream)


def _likeliest(
    request: GenerateRequest, prepared: Prepared, likelihoods: Sequence[float], emit: Callable[[Event], None] | None
) -> tuple[GeneratedText, ...]:
    """The likeliest of the given texts, `n` times, each as one piece; its tokens and the end count as generated."""
    best = likelihoods.index(max(likelihoods))
    text = GeneratedText(request.given[best].shown, "stop", prepared.text_tokens[1 + best] + 1)
    if emit is not None:
        for choice in range(request.n):
            emit(Piece(choice, text.text, None, text.finish_reason))
    return (text,) * request.n
