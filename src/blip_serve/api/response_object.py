"""The object of the Responses interface, in each of its states: begun, ended, failed."""

import time
import uuid
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from blip_serve.api.errors import ErrorBody
from blip_serve.api.logprobs import Logprob, logprobs
from blip_serve.api.usage import ResponseUsage, response_usage
from blip_serve.domain import GeneratedText, ScoringProtocol
from blip_serve.tasks.generate import GenerateRequest, GenerateResult
from blip_serve.tasks.request import ServedTier

State = Literal["in_progress", "completed", "incomplete", "failed"]


class OutputText(BaseModel):
    """The text. `logprobs` are there where they were asked for."""

    type: Literal["output_text"] = "output_text"
    text: str = ""
    annotations: list[str] = Field([], max_length=0)
    logprobs: list[Logprob] = []


class OutputMessage(BaseModel):
    """What the model says: one text, once it has begun to."""

    type: Literal["message"] = "message"
    id: str
    role: Literal["assistant"] = "assistant"
    status: State = "in_progress"
    content: list[OutputText] = []


class ResponseError(BaseModel):
    """Why there is no answer, in the SDK's two words for it; `message` says more."""

    code: Literal["server_error", "invalid_prompt"]
    message: str


class IncompleteDetails(BaseModel):
    """Why the text is cut short."""

    reason: Literal["max_output_tokens"] = "max_output_tokens"


class TextFormat(BaseModel):
    """Plain text, or with its other keys as they came, JSON of a schema."""

    model_config = ConfigDict(extra="allow")

    type: Literal["text", "json_schema"] = "text"


class TextConfig(BaseModel):
    """Of the output."""

    format: TextFormat


class Reasoning(BaseModel):
    """None is done."""

    effort: None = None
    summary: None = None


class ResponseObject(BaseModel):
    """A response. What has a default is never anything else here; it is there because clients expect it."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None = None
    status: State = "in_progress"
    background: Literal[False] = False
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None
    max_output_tokens: int
    max_tool_calls: None = None
    metadata: dict[str, str] = Field({}, max_length=0)
    model: str = ""
    protocol: ScoringProtocol = "hf"
    output: list[OutputMessage] = []
    parallel_tool_calls: bool = True
    previous_response_id: None = None
    prompt_cache_key: None = None
    reasoning: Reasoning = Reasoning()
    safety_identifier: None = None
    service_tier: ServedTier = "default"
    store: Literal[False] = False
    temperature: float
    text: TextConfig
    tool_choice: Literal["auto"] = "auto"
    tools: list[str] = Field([], max_length=0)
    top_logprobs: int
    top_p: float
    truncation: Literal["disabled"] = "disabled"
    usage: ResponseUsage | None = None
    user: None = None


def begun(request: GenerateRequest, instructions: str | None, text_format: dict[str, Any] | None) -> ResponseObject:
    """A response to `request` that has no text yet; `text_format`: the format that was asked for."""
    options = request.options
    return ResponseObject(
        id=f"resp_{uuid.uuid4().hex}",
        created_at=int(time.time()),
        instructions=instructions,
        max_output_tokens=options.max_tokens,
        temperature=options.temperature,
        text=TextConfig(format=TextFormat.model_validate(text_format or {})),
        top_logprobs=options.top_logprobs or 0,
        top_p=options.top_p,
    )


def new_message() -> OutputMessage:
    """A message that has no text yet."""
    return OutputMessage(id=f"msg_{uuid.uuid4().hex}")


def said(message: OutputMessage, text: GeneratedText) -> OutputMessage:
    """The message with its whole text."""
    content = OutputText(text=text.text, logprobs=logprobs(text.logprobs or ()))
    return message.model_copy(update={"status": _state(text), "content": [content]})


def ended(response: ResponseObject, message: OutputMessage, result: GenerateResult) -> ResponseObject:
    """The response with its answer."""
    state = _state(result.texts[0])
    return response.model_copy(
        update={
            "status": state,
            "completed_at": int(time.time()) if state == "completed" else None,
            "incomplete_details": IncompleteDetails() if state == "incomplete" else None,
            "model": result.model,
            "protocol": result.protocol,
            "service_tier": result.service_tier,
            "output": [message],
            "usage": response_usage(result.usage),
        }
    )


def failed(response: ResponseObject, error: ErrorBody) -> ResponseObject:
    """The response with its error."""
    code: Literal["server_error", "invalid_prompt"] = (
        "invalid_prompt" if error.type == "invalid_request_error" else "server_error"
    )
    return response.model_copy(update={"status": "failed", "error": ResponseError(code=code, message=error.message)})


def _state(text: GeneratedText) -> State:
    return "incomplete" if text.finish_reason == "length" else "completed"
