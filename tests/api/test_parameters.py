"""Every parameter of the SDK's methods is read, ignored as harmless, or refused by name; anything else is unknown."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from openai.types.decision_create_params import DecisionCreateParams
from openai.types.embedding_create_params import EmbeddingCreateParams
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming
from pydantic import BaseModel

from blip_serve.api import chat, decisions, embeddings, responses
from blip_serve.api.endpoint import Others
from blip_serve.models.fake import VECTOR_WIDTH, FakeModel
from tests.support.asking import chat_messages, response_input
from tests.support.server import Service, always, fake_settings, serving

Values = Mapping[str, Sequence[object]]
TOOL = {"type": "function", "name": "f", "function": {"name": "f"}, "parameters": {}, "strict": True}
SCHEMA = {"type": "json_schema", "name": "s", "schema": {}, "json_schema": {"name": "s", "schema": {}}}
ENUM = {"enum": ["a dog", "a cat"]}
ENUM_FORMAT = {"type": "json_schema", "name": "s", "schema": ENUM, "json_schema": {"name": "s", "schema": ENUM}}
VLLM: Values = {
    "add_generation_prompt": [True, False],
    "add_special_tokens": [True],
    "allowed_token_ids": [None],
    "bad_words": [[], None],
    "best_of": [1],
    "cache_salt": ["salt"],
    "chat_template": [None],
    "chat_template_kwargs": [{"enable_thinking": False}],
    "continue_final_message": [False],
    "documents": [[]],
    "early_stopping": [False],
    "ec_transfer_params": [None],
    "echo": [False],
    "enable_response_messages": [False],
    "guided_choice": [["a dog", "a cat"], None],
    "guided_decoding_backend": ["outlines"],
    "guided_grammar": [None],
    "guided_json": [ENUM, None],
    "guided_regex": [None],
    "guided_whitespace_pattern": [" "],
    "ignore_eos": [True, False],
    "include_reasoning": [True],
    "include_stop_str_in_output": [False],
    "kv_transfer_params": [None],
    "length_penalty": [1.0, 1],
    "logit_bias": [{}, None],
    "logits_processors": [[]],
    "logprob_token_ids": [None],
    "media_io_kwargs": [{}],
    "min_p": [0.1, 0, None],
    "min_tokens": [2],
    "mm_processor_kwargs": [{}, None],
    "previous_input_messages": [None],
    "previous_response": [None],
    "priority": [0, 5],
    "prompt_logprobs": [None],
    "repetition_detection": [None],
    "repetition_penalty": [1.2],
    "request_id": ["mine"],
    "return_mm_kwargs": [False],
    "return_prompt_text": [False],
    "return_token_ids": [False],
    "return_token_offsets": [True],
    "return_tokens_as_token_ids": [False],
    "routed_experts_prompt_start": [3],
    "session_id": ["mine"],
    "skip_special_tokens": [True],
    "spaces_between_special_tokens": [True, False],
    "stop_token_ids": [[], None],
    "stream_interval": [4],
    "structural_tag": [None],
    "structured_outputs": [{"choice": ["a dog", "a cat"]}, None],
    "thinking_token_budget": [100],
    "top_k": [5, 0, -1, None],
    "truncate_prompt_tokens": [None],
    "truncation_side": ["left"],
    "use_beam_search": [False],
    "vllm_xargs": [{}],
    "watermarking": [False],
}
"""Of vLLM's chat and responses, now (vllm/entrypoints/openai/chat_completion/protocol.py and responses/protocol.py) and
before: what they have beyond OpenAI's."""
VLLM_REFUSED: Values = {
    "allowed_token_ids": [[5]],
    "bad_words": [["dog"]],
    "best_of": [2],
    "chat_template": ["{{ messages }}"],
    "continue_final_message": [True],
    "documents": [[{"text": "a"}]],
    "early_stopping": [True],
    "ec_transfer_params": [{"a": 1}],
    "echo": [True],
    "enable_response_messages": [True],
    "guided_grammar": ["root ::= 'a'"],
    "guided_json": [{"type": "object"}],
    "guided_regex": ["a.*"],
    "include_stop_str_in_output": [True],
    "kv_transfer_params": [{"a": 1}],
    "length_penalty": [0.5],
    "logit_bias": [{"50256": -100}],
    "logits_processors": [["a"]],
    "logprob_token_ids": [[5]],
    "media_io_kwargs": [{"image": {}}],
    "mm_processor_kwargs": [{"size": 5}],
    "previous_input_messages": [[{"role": "user"}]],
    "previous_response": [{"id": "resp_1"}],
    "prompt_logprobs": [1],
    "repetition_detection": [{"max_pattern_size": 3}],
    "return_prompt_text": [True],
    "return_token_ids": [True],
    "return_tokens_as_token_ids": [True],
    "skip_special_tokens": [False],
    "stop_token_ids": [[5]],
    "structural_tag": ["{}"],
    "structured_outputs": [{"regex": "a.*"}, {"json_object": True}, {"grammar": "a"}],
    "truncate_prompt_tokens": [5],
    "use_beam_search": [True],
    "vllm_xargs": [{"a": 1}],
    "watermarking": [True],
}
SHARED: Values = {
    "metadata": [None, {"a": "b"}],
    "model": ["fake", None],
    "parallel_tool_calls": [True, False],
    "prompt_cache_key": ["a"],
    "prompt_cache_options": [{"mode": "implicit"}],
    "prompt_cache_retention": ["24h"],
    "safety_identifier": ["a"],
    "service_tier": ["auto", "flex"],
    "store": [True, False, None],
    "stream": [True, False],
    "temperature": [0, 1.5],
    "top_logprobs": [0],
    "top_p": [0.5],
    "user": ["a"],
    "tool_choice": ["auto", "none"],
    "tools": [[], None],
    "moderation": [None],
    **VLLM,
}
SHARED_REFUSED: Values = {
    "tools": [[TOOL]],
    "tool_choice": ["required", {"type": "function", "name": "f"}],
    "moderation": [{"model": "omni-moderation-latest"}],
    **VLLM_REFUSED,
}


@dataclass(frozen=True)
class Endpoint:
    """One of the SDK's methods: its parameters' types, and values of each that are accepted, or refused by name."""

    path: str
    method: type
    body: type[BaseModel]
    others: Others
    good: Mapping[str, Any]
    accepted: Values
    refused: Values


ENDPOINTS = [
    Endpoint(
        "/v1/chat/completions",
        CompletionCreateParamsStreaming,
        chat.ChatBody,
        chat.OTHERS,
        {"messages": chat_messages("a")},
        {
            **SHARED,
            "messages": [chat_messages()],
            "audio": [None],
            "frequency_penalty": [0, 0.0, None],
            "function_call": ["none", "auto"],
            "functions": [[]],
            "logprobs": [True, False],
            "max_completion_tokens": [3],
            "max_tokens": [3],
            "modalities": [["text"], None],
            "n": [2],
            "prediction": [{"type": "content", "content": "a dog"}],
            "presence_penalty": [0],
            "reasoning_effort": ["none", "high"],
            "response_format": [{"type": "text"}, ENUM_FORMAT, None],
            "seed": [1],
            "stop": ["."],
            "stream_options": [None],
            "verbosity": ["medium", None],
        },
        {
            **SHARED_REFUSED,
            "audio": [{"voice": "alloy", "format": "wav"}],
            "frequency_penalty": [0.1, -2],
            "function_call": [{"name": "f"}],
            "functions": [[{"name": "f"}]],
            "modalities": [["text", "audio"], ["audio"]],
            "presence_penalty": [1],
            "response_format": [{"type": "json_object"}, SCHEMA],
            "verbosity": ["low", "high"],
            "web_search_options": [{}],
        },
    ),
    Endpoint(
        "/v1/responses",
        ResponseCreateParamsStreaming,
        responses.ResponsesBody,
        responses.OTHERS,
        {"input": response_input("a")},
        {
            **SHARED,
            "input": [response_input()],
            "access_programs": [{"cyber": "standard"}],
            "background": [False, None],
            "context_management": [[]],
            "conversation": [None],
            "image": [{"context_compression": "auto"}],
            "include": [["message.output_text.logprobs"], ["reasoning.encrypted_content"], []],
            "instructions": ["Be brief."],
            "max_output_tokens": [3],
            "max_tool_calls": [1],
            "previous_response_id": [None],
            "prompt": [None],
            "reasoning": [{"effort": "low"}],
            "stream_options": [{"include_obfuscation": False}],
            "text": [
                {"format": {"type": "text"}},
                {"format": ENUM_FORMAT},
                {},
                {"verbosity": "medium"},
                {"verbosity": None},
            ],
            "truncation": ["auto", "disabled"],
        },
        {
            **SHARED_REFUSED,
            "background": [True],
            "context_management": [[{"type": "compaction"}]],
            "conversation": ["conv_1", {"id": "conv_1"}],
            "image": [{"context_compression": "enabled"}],
            "previous_response_id": ["resp_1"],
            "prompt": [{"id": "pmpt_1"}],
            "text": [{"format": SCHEMA}, {"verbosity": "low"}, {"colour": "red"}, "plain"],
            "truncation": ["both"],
        },
    ),
    Endpoint(
        "/v1/embeddings",
        EmbeddingCreateParams,
        embeddings.EmbeddingsBody,
        embeddings.OTHERS,
        {"input": "a dog"},
        {
            "input": [["a dog", "a cat"]],
            "model": ["fake", None],
            "dimensions": [VECTOR_WIDTH, None],
            "encoding_format": ["float", "base64"],
            "user": ["a"],
        },
        {},
    ),
    Endpoint(
        "/v1/decisions",
        DecisionCreateParams,
        decisions.DecisionsBody,
        decisions.OTHERS,
        {"input": response_input(), "questions": [{"type": "predicate", "instructions": "a dog"}]},
        {
            "input": [response_input()[0]],
            "model": ["fake", None],
            "questions": [[{"type": "predicate", "instructions": "a cat", "name": "cat"}]],
            "prompt_cache_key": ["a"],
            "prompt_cache_options": [{"mode": "implicit"}],
            "safety_identifier": ["a"],
        },
        {},
    ),
]
ids = [endpoint.path for endpoint in ENDPOINTS]


def cases(field: str) -> list[Any]:
    """Each endpoint with each of the values it accepts, or refuses."""
    return [
        pytest.param(endpoint, name, value, id=f"{endpoint.path} {name}={str(value)[:30]}")
        for endpoint in ENDPOINTS
        for name, values in getattr(endpoint, field).items()
        for value in values
    ]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving(fake_settings(), always(FakeModel("match", "embed", "caption", "answer"))) as running:
        yield running


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=ids)
def test_the_table_holds_every_parameter_of_the_sdk_and_no_other(endpoint: Endpoint) -> None:
    parameters = set(endpoint.method.__annotations__)
    assert parameters <= endpoint.body.model_fields.keys() | endpoint.others.keys()
    if "top_k" in endpoint.body.model_fields:
        parameters |= VLLM.keys()
    assert endpoint.others.keys() <= parameters - endpoint.body.model_fields.keys()
    assert parameters <= endpoint.accepted.keys() | endpoint.refused.keys()


@pytest.mark.parametrize(("endpoint", "name", "value"), cases("accepted"))
def test_what_changes_no_answer_is_accepted(service: Service, endpoint: Endpoint, name: str, value: object) -> None:
    response = service.client.post(endpoint.path, json={**endpoint.good, name: value})
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(("endpoint", "name", "value"), cases("refused"))
def test_what_would_change_the_answer_is_refused(
    service: Service, endpoint: Endpoint, name: str, value: object
) -> None:
    response = service.client.post(endpoint.path, json={**endpoint.good, name: value})
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "unsupported_parameter", name)


@pytest.mark.parametrize(
    ("path", "tools"),
    [
        ("/v1/chat/completions", {"tools": [TOOL], "tool_choice": "none"}),
        ("/v1/chat/completions", {"functions": [{"name": "f"}], "function_call": "none"}),
        ("/v1/responses", {"tools": [TOOL], "tool_choice": "none"}),
    ],
)
def test_tools_that_are_not_to_be_used_are_accepted(service: Service, path: str, tools: dict[str, Any]) -> None:
    [good] = [endpoint.good for endpoint in ENDPOINTS if endpoint.path == path]
    assert service.client.post(path, json={**good, **tools}).status_code == 200
    for choice in ("auto", None):
        given = {name: choice if isinstance(value, str) else value for name, value in tools.items()}
        error = service.client.post(path, json={**good, **given}).json()["error"]
        assert (error["code"], error["param"]) == ("unsupported_parameter", next(iter(tools)))


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=ids)
def test_anything_else_is_unknown(service: Service, endpoint: Endpoint) -> None:
    response = service.client.post(endpoint.path, json={**endpoint.good, "colour": None})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "unknown_parameter"
    assert response.json()["error"]["param"] == "colour"
