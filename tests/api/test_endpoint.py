"""Endpoints without HTTP: a line of JSON becomes a task's request, and its result becomes an answer."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from blip_serve.api.app import ENDPOINTS
from blip_serve.api.body import read_body, write_answer
from blip_serve.errors import InvalidInput, ModelNotFound
from blip_serve.models.fake import FakeModel
from blip_serve.tasks.service import Tasks
from tests.support.asking import IMAGE, chat_messages, response_input
from tests.support.server import fake_settings
from tests.support.tasks import with_service
from tests.support.waiting import wait_until

BY_PATH = {path: endpoint for group in ENDPOINTS.values() for endpoint in group for path in endpoint.paths}
SETTINGS = fake_settings()
BODIES: Mapping[str, Mapping[str, Any]] = {
    "/v1/match": {"image": IMAGE, "captions": ["a dog", "a cat"]},
    "/v1/explain": {"image": IMAGE, "caption": "a dog"},
    "/v1/score": {"queries": {"image": IMAGE}, "items": "a dog"},
    "/v1/chat/completions": {"messages": chat_messages("a")},
    "/v1/responses": {"input": response_input("a")},
    "/v1/decisions": {
        "input": response_input(),
        "questions": [{"type": "predicate", "name": "dog", "instructions": "a dog"}],
    },
    "/v1/embeddings": {"input": ["a dog", {"image": IMAGE}], "encoding_format": "base64"},
    "/v1/embed": {"texts": ["a dog"]},
    "/v2/embed": {"texts": ["a dog"], "embedding_types": ["int8"]},
    "/v1/rerank": {"query": {"image": IMAGE}, "documents": ["a dog"], "return_documents": True},
}


def answered(path: str, content: bytes | dict[str, Any]) -> dict[str, Any]:
    """The answer to one line of a file."""

    async def ask(tasks: Tasks) -> dict[str, Any]:
        await asyncio.to_thread(wait_until, lambda: not tasks.not_ready())
        endpoint = BY_PATH[path]
        line = read_body(endpoint, content, SETTINGS)
        answer: dict[str, Any] = json.loads(write_answer(endpoint, line.answer(await tasks.run(line.request))))
        return answer

    return with_service(FakeModel("match", "embed", "caption", "answer", "explain"), ask)


def test_every_endpoint_has_a_body_here() -> None:
    assert {path for path in BY_PATH if path.startswith("/v")} - {"/v2/rerank"} == BODIES.keys()


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("as_text", [True, False])
def test_a_line_is_answered_as_text_and_as_an_object(path: str, as_text: bool) -> None:
    body = {**BODIES[path], "model": "fake", "service_tier": "flex"}
    answer = answered(path, json.dumps(body).encode() if as_text else body)
    assert answer["usage"] if path != "/v1/responses" else answer["usage"]["total_tokens"]


def test_the_answer_has_what_the_body_asked_for() -> None:
    assert [pair["caption_index"] for pair in answered("/v1/match", dict(BODIES["/v1/match"]))["data"]] == [0, 1]
    assert isinstance(answered("/v1/embeddings", dict(BODIES["/v1/embeddings"]))["data"][0]["embedding"], str)
    assert answered("/v1/rerank", dict(BODIES["/v1/rerank"]))["results"][0]["document"] == {"text": "a dog"}
    assert answered("/v1/decisions", dict(BODIES["/v1/decisions"]))["answers"][0]["name"] == "dog"
    assert list(answered("/v2/embed", dict(BODIES["/v2/embed"]))["embeddings"]) == ["int8"]
    assert isinstance(answered("/v1/embed", dict(BODIES["/v1/embed"]))["embeddings"], list)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
def test_what_asks_for_a_stream_has_a_writer(path: str) -> None:
    endpoint = BY_PATH[path]
    assert read_body(endpoint, dict(BODIES[path]), SETTINGS).writer is None
    assert read_body(endpoint, {**BODIES[path], "stream": True}, SETTINGS).writer is not None


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("fault", [{}, {"colour": "red"}, {"service_tier": "slow"}])
def test_the_model_is_checked_before_all_else(path: str, fault: Mapping[str, str]) -> None:
    def refuse(named: object) -> None:
        assert named == "nope"
        raise ModelNotFound("no")

    line: dict[str, Any] = {"model": "nope", **fault}
    for content in (line, json.dumps(line).encode()):
        with pytest.raises(ModelNotFound):
            read_body(BY_PATH[path], content, SETTINGS, refuse)
        with pytest.raises(InvalidInput):
            read_body(BY_PATH[path], content, SETTINGS)


def test_a_line_of_too_many_values_is_refused_before_it_is_read() -> None:
    content = b'{"captions": [' + b"1," * SETTINGS.server.max_json_values + b"1]}"
    with pytest.raises(InvalidInput) as caught:
        read_body(BY_PATH["/v1/match"], content, SETTINGS)
    assert caught.value.code == "invalid_json"
