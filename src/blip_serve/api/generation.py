"""How a text is generated, in a request's fields: those that chat completions and responses share."""

import secrets
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from blip_serve.api.body import STRICT, Others, anything, only
from blip_serve.domain import GenerationOptions, ScoringProtocol
from blip_serve.errors import InvalidInput

MAX_STOPS = 4
MAX_STOP_CHARS = 1000
MAX_COUNT = 1_000_000
"""No count is larger, whatever the settings."""
CARD = GenerationOptions()
"""The model cards' way: what holds where a request says nothing."""


def _strings(value: Any) -> Any:
    """One string as a list of one; more than four are not even looked at. What is no list has no `stop[0]` to name."""
    if isinstance(value, str):
        if not 1 <= len(value) <= MAX_STOP_CHARS:
            raise PydanticCustomError("stop_length", "a stop string has 1 to 1000 characters")
        return [value]
    if not isinstance(value, list):
        raise PydanticCustomError("stop_type", "a string or an array of strings is expected")
    if len(value) > MAX_STOPS:
        raise PydanticCustomError("stop_count", "at most 4 strings are allowed")
    return value


_STRING = {"type": "string", "minLength": 1, "maxLength": MAX_STOP_CHARS}
Stop = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARS)]],
    BeforeValidator(_strings),
    WithJsonSchema({"anyOf": [_STRING, {"type": "array", "items": _STRING, "maxItems": MAX_STOPS}]}),
]
"""A string, or up to four."""


def _finite(value: Any) -> Any:
    """Words for what JSON has no number for are that value, and refused as one."""
    if isinstance(value, str) and value.lstrip("+-").lower() in ("nan", "inf", "infinity"):
        raise PydanticCustomError("finite_number", "Input should be a finite number")
    return value


def _integer(value: Any) -> Any:
    """JSON's numbers are of one type: `1e9` is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Finite = BeforeValidator(_finite)
Integer = BeforeValidator(_integer)
Count = Annotated[int, Field(ge=1, le=MAX_COUNT), Integer]


class GenerationBody(BaseModel):
    """How to generate. `null` is the default everywhere."""

    model_config = STRICT

    model: str | None = Field(None, description="the configured default where absent")
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False), Finite] | None = Field(
        None, description="0, the likeliest word each time, is the default: the model cards' greedy decoding"
    )
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False), Finite] | None = Field(
        None, description="below 1 and without a temperature it samples at temperature 1"
    )
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63), Integer] | None = Field(
        None, description="makes sampling repeatable; by default each request draws its own"
    )
    stop: Stop | None = Field(None, description="the text ends before any of these")
    stream: bool | None = Field(None, description="send the text as it is generated, as server-sent events")
    top_logprobs: Annotated[int, Field(ge=0, le=20), Integer] | None = Field(
        None, description="likeliest tokens to list"
    )
    num_beams: Count | None = Field(None, description="above 1: beam search; beams do not sample")
    min_tokens: Annotated[int, Field(ge=0, le=MAX_COUNT), Integer] | None = Field(
        None, description="tokens before which the text does not end"
    )
    repetition_penalty: Annotated[float, Field(ge=0.1, le=10, allow_inf_nan=False), Finite] | None = Field(
        None, description="above 1: words said already are less likely"
    )
    protocol: ScoringProtocol | None = Field(
        None, description="`hf` (the model cards' code) or `paper`; see the README"
    )


OTHERS: Others = {
    **dict.fromkeys(
        ("metadata", "parallel_tool_calls", "safety_identifier", "service_tier", "store", "user"), anything
    ),
    **dict.fromkeys(("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"), anything),
    "moderation": only(None),
    "tool_choice": only(None, "auto", "none"),
    "tools": only(None, []),
}
"""Parameters of both SDK methods that are not read."""


def generation_options(
    body: GenerationBody, *, max_tokens: int | None, max_tokens_param: str, logprobs: bool
) -> GenerationOptions:
    """The options of `body`; `logprobs`: whether it asks for them. Raises `InvalidInput` for `top_logprobs` alone."""
    if body.top_logprobs and not logprobs:
        raise InvalidInput("'top_logprobs' is given, but log-probabilities are not asked for.", param="top_logprobs")
    return GenerationOptions(
        max_tokens=max_tokens or CARD.max_tokens,
        max_tokens_param=max_tokens_param,
        min_tokens=body.min_tokens or CARD.min_tokens,
        temperature=_temperature(body),
        top_p=body.top_p or CARD.top_p,
        seed=secrets.randbits(63) if body.seed is None else body.seed,
        num_beams=body.num_beams or CARD.num_beams,
        repetition_penalty=body.repetition_penalty or CARD.repetition_penalty,
        stop=tuple(body.stop or ()),
        top_logprobs=(body.top_logprobs or 0) if logprobs else None,
    )


def _temperature(body: GenerationBody) -> float:
    """Who narrows the nucleus wants to sample, at OpenAI's default of 1."""
    if body.temperature is not None:
        return body.temperature
    return CARD.temperature if body.top_p in (None, 1) else 1.0
