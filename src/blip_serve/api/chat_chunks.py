"""A chat completion as it is generated: the chunks of its stream."""

import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import BaseModel

from blip_serve.api.errors import ErrorBody, ErrorEnvelope
from blip_serve.api.events import ServerSentEvent
from blip_serve.api.logprobs import Logprob, logprobs
from blip_serve.api.usage import CompletionUsage, completion_usage
from blip_serve.domain import FinishReason, Piece, ScoringProtocol, TokenLogprob
from blip_serve.tasks.generate import Began, Event, GenerateResult
from blip_serve.tasks.request import ServedTier


class ChatLogprobs(BaseModel):
    """Log-probabilities of a message's tokens, or a chunk's."""

    content: list[Logprob]
    refusal: None = None


class Delta(BaseModel):
    """What a chunk adds to its message; what it does not add is not set."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(BaseModel):
    """More of one of the messages."""

    index: int
    delta: Delta
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason | None


class ChatChunk(BaseModel):
    """One event. `usage` is set where it was asked for: in the last chunk, and `null` in the others."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    protocol: ScoringProtocol
    service_tier: ServedTier
    system_fingerprint: str | None
    choices: list[ChunkChoice]
    usage: CompletionUsage | None = None


def chat_logprobs(tokens: Sequence[TokenLogprob] | None) -> ChatLogprobs | None:
    """Of a text, or of a piece; `None` where they were not asked for."""
    return None if tokens is None else ChatLogprobs(content=logprobs(tokens), refusal=None)


class ChunkWriter:
    """Shapes one stream: for each choice its role, its text, its end; then the usage; then `[DONE]`."""

    def __init__(self, choices: int, include_usage: bool) -> None:
        self._choices = choices
        self._include_usage = include_usage
        self._id = f"chatcmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._model = ""
        self._protocol: ScoringProtocol = "hf"
        self._service_tier: ServedTier = "default"

    def write(self, event: Event) -> Iterator[ServerSentEvent]:
        """An event of the task as chunks."""
        match event:
            case Began(model, protocol, service_tier=tier):
                self._model, self._protocol, self._service_tier = model, protocol, tier
                for index in range(self._choices):
                    yield self._more(index, Delta(role="assistant", content=""))
            case Piece(index, text, tokens, finish_reason):
                if text or tokens:
                    yield self._more(index, Delta(content=text), chat_logprobs(tokens))
                if finish_reason is not None:
                    yield self._more(index, Delta(), finish_reason=finish_reason)
            case GenerateResult(usage=usage):
                if self._include_usage:
                    yield self._chunk([], completion_usage(usage))
                yield ServerSentEvent("[DONE]")

    def fail(self, error: ErrorBody) -> Iterator[ServerSentEvent]:
        """The error in the envelope that every error has."""
        yield ServerSentEvent(ErrorEnvelope(error=error).model_dump_json())

    def _more(
        self,
        index: int,
        delta: Delta,
        tokens: ChatLogprobs | None = None,
        finish_reason: FinishReason | None = None,
    ) -> ServerSentEvent:
        choice = ChunkChoice(index=index, delta=delta, logprobs=tokens, finish_reason=finish_reason)
        return self._chunk([choice])

    def _chunk(self, choices: list[ChunkChoice], usage: CompletionUsage | None = None) -> ServerSentEvent:
        chunk = ChatChunk(
            id=self._id,
            object="chat.completion.chunk",
            created=self._created,
            model=self._model,
            protocol=self._protocol,
            service_tier=self._service_tier,
            system_fingerprint=None,
            choices=choices,
        )
        if self._include_usage:
            chunk.usage = usage
        return ServerSentEvent(chunk.model_dump_json(exclude_unset=True))
