"""What chat completions and responses share: both ask for texts from an image, in fields of different names."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from blip_serve.api.generation import GenerationBody, generation_options, given_texts
from blip_serve.api.given import Texts
from blip_serve.api.messages import Grammar, read_messages
from blip_serve.settings import History
from blip_serve.tasks.generate import GenerateRequest

BodyT = TypeVar("BodyT", bound=GenerationBody)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect(Generic[BodyT]):
    """How to read one interface's body. Each function is given the body.

    `messages` reads the messages. `max_tokens`: the limit, and the field that holds it. `logprobs`: whether the body
    asks for them, in the field `logprobs_param`. `texts`: the texts to choose the answer from, if any, in the field
    `texts_param`.
    """

    grammar: Grammar
    messages: Callable[[BodyT], list[dict[str, Any]]]
    max_tokens: Callable[[BodyT], tuple[int | None, str]]
    logprobs: Callable[[BodyT], bool]
    logprobs_param: str
    texts: Callable[[BodyT], Texts]
    texts_param: str


def generate_request(body: BodyT, dialect: Dialect[BodyT], history: History, n: int = 1) -> GenerateRequest:
    """The body as the task's request for `n` texts. Raises `InvalidInput` naming the field at fault."""
    image, text = read_messages(dialect.messages(body), dialect.grammar, history)
    max_tokens, max_tokens_param = dialect.max_tokens(body)
    return GenerateRequest(
        image,
        text,
        generation_options(
            body, max_tokens=max_tokens, max_tokens_param=max_tokens_param, logprobs=dialect.logprobs(body)
        ),
        n,
        dialect.logprobs_param,
        given_texts(body, dialect.texts_param, dialect.texts(body)),
        model=body.model,
        protocol=body.protocol,
        service_tier=body.service_tier or "auto",
    )
