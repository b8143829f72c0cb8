"""What is read of a server's answers: the shared fields, checked. An answer may hold more."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, FiniteFloat

from blip_serve.domain import ScoringProtocol
from blip_serve.tasks.request import Request, Served, ServedTier, Timings, Usage

Number = FiniteFloat
Tokens = Annotated[int, Field(ge=0)]
AnswerT = TypeVar("AnswerT", bound=BaseModel)


class InputDetails(BaseModel):
    """Of the tokens of the inputs."""

    cached_tokens: Tokens
    image_tokens: Tokens


class InputUsage(BaseModel):
    """Tokens, in the words of chat."""

    prompt_tokens: Tokens
    completion_tokens: Tokens = 0
    prompt_tokens_details: InputDetails

    @property
    def usage(self) -> Usage:
        """As the tasks count them."""
        return _usage(self.prompt_tokens, self.prompt_tokens_details, self.completion_tokens)


class ResponseUsage(BaseModel):
    """Tokens, in the words of responses."""

    input_tokens: Tokens
    output_tokens: Tokens = 0
    input_tokens_details: InputDetails

    @property
    def usage(self) -> Usage:
        """As the tasks count them."""
        return _usage(self.input_tokens, self.input_tokens_details, self.output_tokens)


class Answer(BaseModel):
    """The fields of every answer."""

    model: str
    protocol: ScoringProtocol
    usage: InputUsage | ResponseUsage
    service_tier: ServedTier | None = None


class Model(BaseModel):
    """A model on the server's list."""

    id: str
    tasks: list[str] | None
    parent: str | None = None


class ModelList(BaseModel):
    """The server's list of models."""

    data: list[Model]


def served(answer: Answer, request: Request[Any], headers: Mapping[str, str]) -> Served:
    """The fields of a result. Where the answer has no service tier, it is as the request asks."""
    asked: ServedTier = "flex" if request.service_tier == "flex" else "default"
    return Served(
        model=answer.model,
        protocol=answer.protocol,
        service_tier=answer.service_tier or asked,
        usage=answer.usage.usage,
        timings=timings(headers.get("server-timing", "")),
    )


def timings(header: str) -> Timings:
    """The header `server-timing`, in seconds; zeros for what is not there."""
    seconds = dict.fromkeys(("fetch", "decode", "queue", "device"), 0.0)
    for part in header[:1000].split(","):
        stage, _, milliseconds = part.strip().partition(";dur=")
        if stage in seconds:
            try:
                seconds[stage] = float(milliseconds) / 1000
            except ValueError:
                continue
    return Timings(**seconds)


def _usage(given: int, details: InputDetails, generated: int) -> Usage:
    texts = max(0, given - details.image_tokens)
    return Usage(details.image_tokens, texts, details.cached_tokens, generated)
