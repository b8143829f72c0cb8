"""`POST /v1/chat/completions`."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from blip_serve.domain import FinishReason, GeneratedText, TokenLogprob
from blip_serve.errors import InvalidInput
from blip_serve.remote.answers import Answer, InputUsage, Number
from blip_serve.remote.call import Body, Call, WrongShape, renamed
from blip_serve.remote.images import address_of
from blip_serve.tasks.generate import GenerateRequest, GenerateResult
from blip_serve.tasks.inputs import Input
from blip_serve.tasks.request import Served


class Alternative(BaseModel):
    """A token and its natural log-probability."""

    token: str
    logprob: Number


class Token(Alternative):
    """A generated token, and the likeliest in its place."""

    top_logprobs: list[Alternative]


class Logprobs(BaseModel):
    """Of one text."""

    content: list[Token]


class Message(BaseModel):
    """A text."""

    content: str


class Choice(BaseModel):
    """One of the texts, and why it ended."""

    index: int
    message: Message
    finish_reason: FinishReason
    logprobs: Logprobs | None = None


class ChatAnswer(Answer):
    """The texts."""

    usage: InputUsage
    choices: list[Choice]


def _body(request: GenerateRequest) -> Body:
    image = {"type": "image_url", "image_url": {"url": address_of(request.image)}}
    text = [{"type": "text", "text": request.text.text}] if request.text.text else []
    body = {"messages": [{"role": "user", "content": [image, *text]}], "n": request.n, **_options(request)}
    return body | ({"guided_choice": _given(request)} if request.given else {})


def _options(request: GenerateRequest) -> dict[str, Any]:
    """All options: the server's defaults are not asked."""
    options = request.options
    named = {
        "max_tokens": options.max_tokens,
        "min_tokens": options.min_tokens,
        "ignore_eos": options.ignore_eos,
        "temperature": options.temperature,
        "top_k": options.top_k,
        "top_p": options.top_p,
        "min_p": options.min_p,
        "seed": options.seed,
        "num_beams": options.num_beams,
        "repetition_penalty": options.repetition_penalty,
        "stop": list(options.stop),
    }
    if options.top_logprobs is None:
        return named
    return {**named, "logprobs": True, "top_logprobs": options.top_logprobs}


def _given(request: GenerateRequest) -> list[str]:
    """Raises `InvalidInput` for texts that are to be shown as others: that goes through a JSON schema only."""
    for given in request.given:
        if given.shown != given.text.text:
            raise InvalidInput(
                "A server shows a text to choose from as it is.",
                code="unsupported_parameter",
                param=given.text.param,
            )
    return [given.shown for given in request.given]


def _rename(request: GenerateRequest, param: str) -> str:
    names = {
        "messages": request.text.param,
        "messages[0].content[0]": request.image.param,
        "max_tokens": request.options.max_tokens_param,
        "logprobs": request.logprobs_param,
        **{f"guided_choice[{i}]": given.text.param for i, given in enumerate(request.given)},
    }
    return renamed(param, names)


def _images(request: GenerateRequest) -> Sequence[Input]:
    return (request.image,)


def _result(request: GenerateRequest, answer: ChatAnswer, served: Served) -> GenerateResult:
    if [choice.index for choice in answer.choices] != list(range(request.n)):
        raise WrongShape("there are not as many texts as asked for")
    counts = [answer.usage.completion_tokens, *[0] * (request.n - 1)]  # a server tells the sum only
    texts = [_text(choice, count) for choice, count in zip(answer.choices, counts, strict=True)]
    return GenerateResult(tuple(texts), **served)


def _text(choice: Choice, tokens: int) -> GeneratedText:
    logprobs = None if choice.logprobs is None else tuple(map(_logprob, choice.logprobs.content))
    return GeneratedText(choice.message.content, choice.finish_reason, tokens, logprobs)


def _logprob(token: Token) -> TokenLogprob:
    return TokenLogprob(token.token, token.logprob, tuple((top.token, top.logprob) for top in token.top_logprobs))


GENERATE = Call("/v1/chat/completions", _body, _rename, _images, ChatAnswer, _result)
