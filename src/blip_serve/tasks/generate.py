"""Texts from an image: captions, with or without a beginning, and answers to a question; whole, or piece by piece.

Written, or the likeliest of those given.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from blip_serve.catalogue import ModelCard
from blip_serve.domain import (
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
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import ImageSource
from blip_serve.settings import LimitSettings, generation_cost, request_cost
from blip_serve.tasks.inputs import check_distinct, check_length, check_positive, check_text, field_of
from blip_serve.tasks.session import Sessions, Timings
from blip_serve.tasks.usage import Usage, usage_of


@dataclass(frozen=True, slots=True)
class Given:
    """A text that may be the answer: as the model reads it, and as it is `shown` if it is the likeliest."""

    text: Caption
    shown: str


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """`n` texts from one image.

    `text`: a caption's beginning for a captioning model (blank: none; a plain one never has any), the question for an
    answering one. `options.max_tokens` is a ceiling: as many as the settings and the model allow. Where texts are
    `given`, the answer is the likeliest of them, whatever `options` say of drawing, lengths and ends.
    `model` and `protocol` are the configured ones where `None`. `logprobs_param` is the request's field that asks for
    log-probabilities.
    """

    image: ImageSource
    text: Caption
    options: GenerationOptions
    n: int = 1
    model: str | None = None
    protocol: ScoringProtocol | None = None
    logprobs_param: str = "logprobs"
    given: tuple[Given, ...] = ()


@dataclass(frozen=True, slots=True)
class GenerateResult:
    """The texts, in the order of their choices."""

    model: str
    protocol: ScoringProtocol
    texts: tuple[GeneratedText, ...]
    usage: Usage
    timings: Timings


@dataclass(frozen=True, slots=True)
class Began:
    """The first event of a stream: the request was admitted, its image read, its works queued."""

    model: str
    protocol: ScoringProtocol
    usage: Usage


Event = Began | Piece | GenerateResult
"""What a stream consists of: one `Began`, pieces, the result."""


class Generate:
    """The task; `needs`: what its model must do, one of them."""

    needs: ClassVar[tuple[Task, ...]] = ("caption", "answer")

    def __init__(self, sessions: Sessions, limits: LimitSettings) -> None:
        self._sessions = sessions
        self._limits = limits

    async def run(self, request: GenerateRequest) -> GenerateResult:
        """The request's texts. Raises `ServiceError`s that name the request's fields."""
        return await self._run(request)

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        """The same, as it comes; the pieces of a text join to it. Closing the generator frees what is held.

        Raises what `run` raises; whatever is wrong with the request, before the first event. A reader may be slow:
        what waits for it is bounded by the request's tokens, and holds no place in the engine.
        """
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        writer = asyncio.create_task(self._run(request, events.put_nowait))
        writer.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event
            yield writer.result()
        finally:
            writer.cancel()
            await asyncio.wait([writer])
            del writer  # its error refers to this frame

    async def _run(self, request: GenerateRequest, emit: Callable[[Event], None] | None = None) -> GenerateResult:
        card = self._sessions.card(request.model, self.needs)
        request = _within(self._limits, request)
        async with self._sessions.open(request.model, self.needs, _cost(request, card)) as session:
            lease = session.lease
            model, protocol = lease.name, request.protocol or lease.protocol
            text = replace(request.text, text="") if lease.plain else request.text
            check_length(text, self._limits)
            image = await session.load(request.image)
            started = await session.start(_item(request, image, text, protocol, emit is not None), emit)
            usage = usage_of([(image.digest, started.prepared)], sum(started.prepared.text_tokens))
            if request.given:
                check_distinct(enumerate((given.text for given in request.given), 1), started.prepared)
            if emit is not None:
                emit(Began(model, protocol, usage))  # pieces come later: they wait for the loop's next turn
            found = await started.results()
            texts = _likeliest(request, started.prepared, found, emit) if request.given else tuple(found)
            usage = session.used(replace(usage, generated_tokens=sum(text.tokens for text in texts)))
            return GenerateResult(model, protocol, texts, usage, session.timings)


def _within(limits: LimitSettings, request: GenerateRequest) -> GenerateRequest:
    """The request, with no more tokens than may be. Raises `InvalidInput` for what no model does, or none does here."""
    options = request.options
    check_positive(n=request.n, num_beams=options.num_beams, **{options.max_tokens_param: options.max_tokens})
    options = replace(options, max_tokens=min(options.max_tokens, limits.max_new_tokens))
    for name, value, limit in (
        ("n", request.n, limits.max_choices),
        ("num_beams", options.num_beams, limits.max_beams),
    ):
        if value > limit:
            raise InvalidInput(f"'{name}' is {value}; the limit is {limit}.", param=name)
    if options.min_tokens > options.max_tokens:
        raise InvalidInput(
            f"'min_tokens' is {options.min_tokens}; '{options.max_tokens_param}' comes to {options.max_tokens}.",
            param="min_tokens",
        )
    if request.given:
        _check_given(request, limits)
    elif options.num_beams > 1:
        _check_beams(request)
    return replace(request, options=options)


def _check_given(request: GenerateRequest, limits: LimitSettings) -> None:
    texts = [given.text for given in request.given]
    if len(texts) > limits.max_captions:
        raise InvalidInput(
            f"{len(texts)} texts to choose from; the limit is {limits.max_captions}.",
            code="too_many_choices",
            param=field_of(texts),
        )
    for text in texts:
        check_text(text, limits)
    _check_no_logprobs(request, "A text that is chosen")


def _check_beams(request: GenerateRequest) -> None:
    options = request.options
    if request.n > options.num_beams:
        raise InvalidInput(f"{options.num_beams} beams give no {request.n} texts.", param="n")
    if options.temperature > 0:
        narrowed = [("top_p", options.top_p != 1), ("top_k", options.top_k != 0), ("min_p", options.min_p != 0)]
        raise InvalidInput(
            "Beams do not sample: leave 'num_beams' out, or 'temperature', 'top_k', 'top_p' and 'min_p'.",
            param=next((name for name, given in narrowed if given), "temperature"),
        )
    _check_no_logprobs(request, "A search by beams")


def _check_no_logprobs(request: GenerateRequest, what: str) -> None:
    if request.options.top_logprobs is not None:
        raise InvalidInput(
            f"{what} has no log-probabilities.", code="unsupported_parameter", param=request.logprobs_param
        )


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
