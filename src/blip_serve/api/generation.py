"""The fields that chat completions and responses share: how a text is generated."""

import secrets
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from blip_serve.api.endpoint import Body, Others, anything, only, unless
from blip_serve.api.given import Texts, of_choice, of_schema, of_structured_outputs, only_one
from blip_serve.domain import Caption, GenerationOptions, ScoringProtocol
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import ImageSource
from blip_serve.tasks.generate import CARD, GenerateRequest
from blip_serve.tasks.options import (
    MAX_COUNT,
    MAX_REPETITION_PENALTY,
    MAX_STOP_CHARS,
    MAX_STOPS,
    MAX_TEMPERATURE,
    MAX_TOP_LOGPROBS,
    MIN_REPETITION_PENALTY,
)


def _strings(value: Any) -> Any:
    """One string as a list of one. Refuses other types and long lists here, so that the error names `stop` itself."""
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
    """Refuses `"NaN"` and `"Infinity"` as the numbers they stand for: JSON has no number for them."""
    if isinstance(value, str) and value.lstrip("+-").lower() in ("nan", "inf", "infinity"):
        raise PydanticCustomError("finite_number", "Input should be a finite number")
    return value


def _integer(value: Any) -> Any:
    """A whole number written as a float, such as `1e9`, as an integer: JSON has one type of numbers."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Finite = BeforeValidator(_finite)
Integer = BeforeValidator(_integer)
Count = Annotated[int, Field(ge=1, le=MAX_COUNT), Integer]
Ceiling = Annotated[int, Field(ge=1), Integer]
"""An upper limit of any size. The service may allow less."""


class GenerationBody(Body):
    """How to generate. `null` means the default."""

    model: str | None = Field(None, description="the configured default where absent")
    temperature: Annotated[float, Field(ge=0, le=MAX_TEMPERATURE, allow_inf_nan=False), Finite] | None = Field(
        None, description="0, the likeliest word each time, is the default: the model cards' greedy decoding"
    )
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False), Finite] | None = Field(
        None, description="below 1 and without a temperature it samples at temperature 1"
    )
    top_k: Annotated[int, Field(ge=-1, le=MAX_COUNT), Integer] | None = Field(
        None, description="draw from the likeliest so many tokens; 0 and -1: from all. Samples as `top_p` does"
    )
    min_p: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), Finite] | None = Field(
        None, description="draw from tokens of at least this share of the likeliest's probability; samples likewise"
    )
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63), Integer] | None = Field(
        None, description="makes sampling repeatable; by default each request draws its own"
    )
    stop: Stop | None = Field(None, description="the text ends before any of these")
    stream: bool | None = Field(None, description="send the text as it is generated, as server-sent events")
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS), Integer] | None = Field(
        None, description="likeliest tokens to list"
    )
    num_beams: Count | None = Field(None, description="above 1: beam search; beams do not sample")
    min_tokens: Annotated[int, Field(ge=0, le=MAX_COUNT), Integer] | None = Field(
        None, description="tokens before which the text does not end"
    )
    ignore_eos: bool | None = Field(None, description="go on to the last of the tokens that may be generated")
    repetition_penalty: (
        Annotated[float, Field(ge=MIN_REPETITION_PENALTY, le=MAX_REPETITION_PENALTY, allow_inf_nan=False), Finite]
        | None
    ) = Field(None, description="above 1: words said already are less likely")
    guided_choice: Annotated[list[str], Field(min_length=1, fail_fast=True)] | None = Field(
        None, description="answer with the likeliest of these texts"
    )
    guided_json: str | dict[str, Any] | None = Field(
        None, description="a JSON schema that is one enum: answer with the likeliest of its values, as JSON"
    )
    structured_outputs: dict[str, Any] | None = Field(
        None, description="vLLM's later name for these: `choice`, or `json`"
    )
    protocol: ScoringProtocol | None = Field(
        None, description="`hf` (the model cards' code) or `paper`; see the README"
    )


OTHERS: Others = {
    **dict.fromkeys(("metadata", "parallel_tool_calls", "safety_identifier", "store", "user"), anything),
    **dict.fromkeys(("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"), anything),
    "logit_bias": only(None, {}),
    "moderation": only(None),
    "tool_choice": only(None, "auto", "none"),
    "tools": unless("tool_choice", "none", None, []),
}
"""Parameters of chat completions and responses that are accepted but not read."""

VLLM: Others = {
    **dict.fromkeys(
        (
            "add_generation_prompt",
            "add_special_tokens",
            "cache_salt",
            "chat_template_kwargs",
            "guided_decoding_backend",
            "guided_whitespace_pattern",
            "include_reasoning",
            "priority",
            "request_id",
            "return_mm_kwargs",
            "return_token_offsets",
            "routed_experts_prompt_start",
            "session_id",
            "spaces_between_special_tokens",
            "stream_interval",
            "thinking_token_budget",
            "truncation_side",
        ),
        anything,
    ),
    **dict.fromkeys(
        (
            "allowed_token_ids",
            "chat_template",
            "ec_transfer_params",
            "guided_grammar",
            "guided_regex",
            "kv_transfer_params",
            "logprob_token_ids",
            "previous_response",
            "prompt_logprobs",
            "repetition_detection",
            "structural_tag",
            "truncate_prompt_tokens",
        ),
        only(None),
    ),
    **dict.fromkeys(
        (
            "continue_final_message",
            "early_stopping",
            "echo",
            "enable_response_messages",
            "include_stop_str_in_output",
            "return_prompt_text",
            "return_token_ids",
            "return_tokens_as_token_ids",
            "use_beam_search",
            "watermarking",
        ),
        only(None, False),
    ),
    **dict.fromkeys(
        ("bad_words", "documents", "logits_processors", "previous_input_messages", "stop_token_ids"), only(None, [])
    ),
    **dict.fromkeys(("media_io_kwargs", "mm_processor_kwargs", "vllm_xargs"), only(None, {})),
    **dict.fromkeys(("best_of", "length_penalty"), only(None, 1)),
    "skip_special_tokens": only(None, True),
}
"""vLLM's own parameters for chat and responses, in old and new versions, that are accepted but not read.

vllm-project/vllm:vllm/entrypoints/openai/chat_completion/protocol.py, and beside it responses/protocol.py.
"""


def generate_request(
    body: GenerationBody,
    image: ImageSource,
    text: Caption,
    *,
    n: int = 1,
    max_tokens: tuple[int | None, str],
    logprobs: tuple[bool, str],
    texts: tuple[Texts, str],
) -> GenerateRequest:
    """The task's request for `n` texts. What the two endpoints name differently comes with its field's name.

    `max_tokens`: the limit. `logprobs`: whether they are asked for. `texts`: those to choose from, if any.

    Raises `InvalidInput` naming the field at fault.
    """
    return GenerateRequest(
        image,
        text,
        _options(body, *max_tokens, logprobs[0]),
        n,
        logprobs[1],
        _given_texts(body, *texts),
        model=body.model,
        protocol=body.protocol,
        service_tier=body.service_tier or "auto",
    )


def _options(body: GenerationBody, max_tokens: int | None, max_tokens_param: str, logprobs: bool) -> GenerationOptions:
    """The options of `body`; `logprobs`: whether it asks for them. Raises `InvalidInput` for `top_logprobs` alone."""
    if body.top_logprobs and not logprobs:
        raise InvalidInput("'top_logprobs' is given, but log-probabilities are not asked for.", param="top_logprobs")
    return GenerationOptions(
        max_tokens=max_tokens or CARD.max_tokens,
        max_tokens_param=max_tokens_param,
        min_tokens=body.min_tokens or CARD.min_tokens,
        ignore_eos=bool(body.ignore_eos),
        temperature=_temperature(body),
        top_k=max(body.top_k or 0, CARD.top_k),
        top_p=body.top_p or CARD.top_p,
        min_p=body.min_p or CARD.min_p,
        seed=secrets.randbits(63) if body.seed is None else body.seed,
        num_beams=body.num_beams or CARD.num_beams,
        repetition_penalty=body.repetition_penalty or CARD.repetition_penalty,
        stop=tuple(body.stop or ()),
        top_logprobs=(body.top_logprobs or 0) if logprobs else None,
    )


def _temperature(body: GenerationBody) -> float:
    """0 by default. `top_p`, `top_k` or `min_p` ask for sampling. Then it is 1, as with OpenAI."""
    if body.temperature is not None:
        return body.temperature
    narrowed = body.top_p not in (None, 1) or body.top_k not in (None, 0, -1) or body.min_p not in (None, 0)
    return 1.0 if narrowed else CARD.temperature


def _given_texts(body: GenerationBody, texts: Texts, name: str) -> Texts:
    """The texts to choose from, if any. `texts`: those from the endpoint's own field, `name`."""
    return only_one(
        {
            "guided_choice": of_choice(body.guided_choice, "guided_choice"),
            "guided_json": of_schema(body.guided_json, "guided_json"),
            "structured_outputs": of_structured_outputs(body.structured_outputs),
            name: texts,
        }
    )
