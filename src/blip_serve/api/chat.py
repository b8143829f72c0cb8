"""`POST /v1/chat/completions`: its types, and the translation to the task and back."""

import time
import uuid
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, WithJsonSchema

from blip_serve.api import generation
from blip_serve.api.chat_chunks import ChatLogprobs, ChunkWriter, chat_logprobs
from blip_serve.api.endpoint import STRICT, Endpoint, Others, Translation, anything, only, unless
from blip_serve.api.generation import Ceiling, Count, GenerationBody, generate_request
from blip_serve.api.given import of_response_format
from blip_serve.api.inputs import EXAMPLE_IMAGE
from blip_serve.api.messages import CHAT, MAX_MESSAGES, read_messages
from blip_serve.api.usage import CompletionUsage, completion_usage
from blip_serve.domain import FinishReason, GeneratedText, ScoringProtocol
from blip_serve.errors import InvalidInput
from blip_serve.settings import Settings
from blip_serve.tasks.generate import GenerateRequest, GenerateResult
from blip_serve.tasks.request import ServedTier

OTHERS: Others = {
    **generation.OTHERS,
    **generation.VLLM,
    **dict.fromkeys(("prediction", "reasoning_effort"), anything),
    **dict.fromkeys(("audio", "web_search_options"), only(None)),
    **dict.fromkeys(("frequency_penalty", "presence_penalty"), only(None, 0)),
    "function_call": only(None, "auto", "none"),
    "functions": unless("function_call", "none", None, []),
    "modalities": only(None, ["text"]),
    "verbosity": only(None, "medium"),
}
"""Parameters of the SDK's method, and of vLLM's, that are not read."""


class StreamOptions(BaseModel):
    """Of a streamed answer."""

    model_config = STRICT

    include_usage: bool | None = None
    include_obfuscation: bool | None = None  # padding against eavesdroppers who count bytes: never sent


_STREAM_OPTIONS = {
    "type": "object",
    "properties": {"include_usage": {"type": "boolean", "description": "end the stream with the tokens used"}},
}


_RESPONSE_FORMAT = {
    "type": "object",
    "description": 'text, or a `json_schema` that is one enum, `{"enum": [...]}`: the likeliest of its values, as JSON',
}


class ChatBody(GenerationBody):
    """An image, optionally with a text: a caption's beginning or a question, as the model has it."""

    messages: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)] = Field(
        description="what the user says last counts, and the most recent image; all else has no effect"
    )
    n: Count | None = Field(None, description="texts to generate; 1 by default")
    max_tokens: Ceiling | None = Field(
        None, description="tokens to generate at most, the end included, as far as there is room; 20 by default"
    )
    max_completion_tokens: Ceiling | None = Field(None, description="the same")
    logprobs: bool | None = Field(None, description="give the log-probability of each token")
    response_format: Annotated[Any, WithJsonSchema(_RESPONSE_FORMAT)] = None
    stream_options: Annotated[StreamOptions, WithJsonSchema(_STREAM_OPTIONS)] | None = None


class Message(BaseModel):
    """A generated text."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(BaseModel):
    """One of the texts, and why it ended."""

    index: int
    message: Message
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason


class ChatCompletion(BaseModel):
    """The texts."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    protocol: ScoringProtocol
    service_tier: ServedTier
    system_fingerprint: None = None
    choices: list[Choice]
    usage: CompletionUsage


_EXAMPLE = {
    "model": "demo-captioning",
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": EXAMPLE_IMAGE}},
                {"type": "text", "text": "a drawing of"},
            ],
        }
    ],
}


def _translate(body: ChatBody, settings: Settings) -> Translation[GenerateRequest, GenerateResult]:
    options = body.stream_options
    if options is not None and not body.stream:
        raise InvalidInput("'stream_options' is for 'stream': true only.", param="stream_options")
    image, text = read_messages(body.messages, CHAT, settings.chat.history)
    request = generate_request(
        body,
        image,
        text,
        n=body.n or 1,
        max_tokens=_max_tokens(body),
        logprobs=(bool(body.logprobs), "logprobs"),
        texts=(of_response_format(body.response_format), "response_format"),
    )
    if not body.stream:
        return Translation(request, _completion)
    include_usage = options is not None and bool(options.include_usage)
    return Translation(request, _completion, ChunkWriter(request.n, include_usage))


def _max_tokens(body: ChatBody) -> tuple[int | None, str]:
    """The limit, and the field that holds it. Raises `InvalidInput` where two fields differ."""
    if body.max_completion_tokens is None:
        return body.max_tokens, "max_tokens"
    if body.max_tokens not in (None, body.max_completion_tokens):
        raise InvalidInput("'max_tokens' and 'max_completion_tokens' differ; give one.", param="max_tokens")
    return body.max_completion_tokens, "max_completion_tokens"


def _completion(result: GenerateResult) -> ChatCompletion:
    return ChatCompletion(
        id=f"chatcmpl-{uuid.uuid4().hex}",
        created=int(time.time()),
        model=result.model,
        protocol=result.protocol,
        service_tier=result.service_tier,
        choices=[_choice(index, text) for index, text in enumerate(result.texts)],
        usage=completion_usage(result.usage),
    )


def _choice(index: int, text: GeneratedText) -> Choice:
    return Choice(
        index=index,
        message=Message(content=text.text),
        logprobs=chat_logprobs(text.logprobs),
        finish_reason=text.finish_reason,
    )


ENDPOINT = Endpoint(
    name="chat",
    paths={"/v1/chat/completions": "Caption an image, or answer a question about it"},
    description="Texts from an image, whole or as they are generated.",
    body=ChatBody,
    others=OTHERS,
    translate=_translate,
    response=ChatCompletion,
    example=_EXAMPLE,
    streams=True,
    nulls=True,
)
