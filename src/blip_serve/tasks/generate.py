"""Texts from an image: captions, with or without a beginning, and answers to a question; whole, or piece by piece."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from blip_serve.domain import Caption, GeneratedText, GenerateItem, GenerationOptions, Piece, ScoringProtocol, Task
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import ImageSource
from blip_serve.settings import LimitSettings, generation_cost
from blip_serve.tasks.inputs import check_length, check_positive
from blip_serve.tasks.session import Sessions, Timings
from blip_serve.tasks.usage import Usage, usage_of


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """`n` texts from one image.

    `text`: a caption's beginning for a captioning model (blank: none), the question for an answering one.
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
        _check(request, self._limits)
        options = request.options
        cost = generation_cost(max(request.n, options.num_beams), options.max_tokens)
        async with self._sessions.open(request.model, self.needs, cost) as session:
            model, protocol = session.lease.id, request.protocol or session.lease.protocol
            image = await session.load(request.image)
            item = GenerateItem(image, request.text, request.n, options, protocol, stream=emit is not None)
            started = await session.start(item, emit)
            usage = usage_of([(image.digest, started.prepared)], sum(started.prepared.text_tokens))
            if emit is not None:
                emit(Began(model, protocol, usage))  # pieces come later: they wait for the loop's next turn
            texts: list[GeneratedText] = await started.results()
            usage = session.used(replace(usage, generated_tokens=sum(text.tokens for text in texts)))
            return GenerateResult(model, protocol, tuple(texts), usage, session.timings)


def _check(request: GenerateRequest, limits: LimitSettings) -> None:
    """Raises `InvalidInput` for what no model can do, or does not do here."""
    options = request.options
    check_length(request.text, limits)
    check_positive(n=request.n, num_beams=options.num_beams, **{options.max_tokens_param: options.max_tokens})
    for name, value, limit in (
        ("n", request.n, limits.max_choices),
        ("num_beams", options.num_beams, limits.max_beams),
        (options.max_tokens_param, options.max_tokens, limits.max_new_tokens),
    ):
        if value > limit:
            raise InvalidInput(f"'{name}' is {value}; the limit is {limit}.", param=name)
    if options.min_tokens > options.max_tokens:
        raise InvalidInput(
            f"'min_tokens' is {options.min_tokens}; '{options.max_tokens_param}' is {options.max_tokens}.",
            param="min_tokens",
        )
    if options.num_beams > 1:
        _check_beams(request)


def _check_beams(request: GenerateRequest) -> None:
    options = request.options
    if request.n > options.num_beams:
        raise InvalidInput(f"{options.num_beams} beams give no {request.n} texts.", param="n")
    if options.temperature > 0:
        raise InvalidInput(
            "Beams do not sample: leave 'num_beams' out, or 'temperature' and 'top_p'.",
            param="temperature" if options.top_p == 1 else "top_p",
        )
    if options.top_logprobs is not None:
        raise InvalidInput(
            "Beams give no log-probabilities.", code="unsupported_parameter", param=request.logprobs_param
        )
