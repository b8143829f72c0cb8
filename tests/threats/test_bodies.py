"""Rows 17, 35 and 39 to 43: bodies that are too large, malformed, or have values that cannot be used."""

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest

from blip_serve.models.fake import FakeModel
from blip_serve.settings import ModelSettings
from tests.support.errors import check
from tests.support.server import FAKE, Service, always, fake_settings, serving
from tests.threats.cases import GOOD, IMAGE, MESSAGES, PICTURE, Case, cases, check_case, check_serves_on

MB = 1_000_000
ENDPOINTS = ["match", "decisions", "chat/completions", "responses", "embeddings", "rerank", "score"]
CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
MALFORMED = {
    "empty": b"",
    "cut off": b"{",
    "lone surrogate": b'{"image": "\\ud800", "caption": "a"}',
    "lone surrogate in a key": b'{"\\udfff": 1}',
    "deep array": b"[" * 200_000,
    "deep object": b'{"a":' * 100_000,
    "no UTF-8": b"\xff\xfe",
    "long integer": b'{"caption": 1' + b"0" * 5000 + b"}",
}
FORM = {"content-type": "multipart/form-data; boundary=x"}


@pytest.fixture(scope="module")
def bounded() -> Iterator[Service]:
    """A service of every task that takes bodies of a megabyte."""
    model = FakeModel("match", "embed", "caption")
    with serving(fake_settings(server={"max_body_bytes": MB}), always(model)) as service:
        yield service


LARGE = json.dumps(GOOD | {"caption": "a" * MB}).encode()


@pytest.mark.parametrize("path", [pytest.param(f"/v1/{path}", id=f"row17-{path}") for path in ENDPOINTS])
@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
def test_a_body_over_the_limit(bounded: Service, path: str, chunked: bool) -> None:
    content = iter([LARGE[i : i + 10_000] for i in range(0, len(LARGE), 10_000)]) if chunked else LARGE
    response = bounded.client.post(path, content=content, headers={"content-type": "application/json"})
    check(response, 413, "request_too_large", None)
    check_serves_on(bounded)


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
def test_row17_a_form_over_the_limit(bounded: Service, chunked: bool) -> None:
    body = b'--x\r\ncontent-disposition: form-data; name="image"; filename="a"\r\n\r\n' + bytes(MB) + b"\r\n--x--\r\n"
    response = bounded.client.post("/v1/match", content=iter([body]) if chunked else body, headers=FORM)
    check(response, 413, "request_too_large", None)
    check_serves_on(bounded)


@cases(Case(17, "of exactly the limit", b" " * (MB - len(json.dumps(GOOD))) + json.dumps(GOOD).encode()))
def test_a_body_within_the_limit(bounded: Service, case: Case) -> None:
    check_case(bounded, case)


@cases(
    *(
        Case(35, f"{name} to {path}", body, "invalid_json", None, path=f"/v1/{path}")
        for path in ENDPOINTS
        for name, body in MALFORMED.items()
    ),
)
def test_malformed_json(bounded: Service, case: Case) -> None:
    check_case(bounded, case)


def chat(**body: Any) -> bytes:
    """As Python writes it, with a word for what JSON has no number for."""
    return json.dumps({"messages": MESSAGES} | body).encode()


def response(**body: Any) -> bytes:
    return json.dumps({"input": INPUT} | body).encode()


INPUT = [{"role": "user", "content": [{"type": "input_image", "image_url": IMAGE}]}]
BODIES: dict[str, dict[str, object]] = {
    "match": GOOD,
    "chat/completions": {"messages": MESSAGES},
    "responses": {"input": INPUT},
    "decisions": {"input": INPUT, "questions": [{"type": "predicate", "instructions": "a"}]},
    "embeddings": {"input": "a"},
    "rerank": {"query": "a", "documents": [{"image": IMAGE}]},
    "score": {"queries": "a", "documents": {"image": IMAGE}},
}
NO_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf, "nan": "nan", "inf": "-inf"}
TOO_MUCH = {"n": 10_000, "num_beams": 10**300, "top_logprobs": 1e300}
CEILINGS = {"max_tokens": 10**9, "max_completion_tokens": 1e9}


@cases(
    *(
        Case(39, f"{field} {name}", chat(**{field: value}), "invalid_value", field, path=CHAT)
        for field in ("temperature", "top_p", "repetition_penalty")
        for name, value in NO_NUMBERS.items()
    ),
    *(
        Case(39, f"of a response {name}", response(temperature=value), "invalid_value", "temperature", path=RESPONSES)
        for name, value in NO_NUMBERS.items()
    ),
    Case(39, "beyond a double", chat(temperature=0).replace(b": 0", b": 1e999"), "invalid_value", "temperature",
         path=CHAT),
    *(Case(40, field, chat(**{field: value}), "invalid_value", field, path=CHAT) for field, value in TOO_MUCH.items()),
    *(
        Case(40, f"{field} of {value}", chat(**{field: value}), "invalid_value", field, path=CHAT)
        for field in ("n", "max_tokens", "num_beams", "temperature", "top_p", "repetition_penalty", "min_tokens")
        for value in (-1, -(10**9))
    ),
    *(Case(40, field, chat(**{field: value}), None, path=CHAT) for field, value in CEILINGS.items()),
    Case(40, "no tokens of a response", response(max_output_tokens=0), "invalid_value", "max_output_tokens",
         path=RESPONSES),
    Case(40, "of a response", response(max_output_tokens=1e9), None, path=RESPONSES),
    Case(40, "of a ranking", json.dumps({"query": "a", "documents": [{"image": IMAGE}], "top_n": -1}).encode(),
         "invalid_value", "top_n", path="/v1/rerank"),
    Case(40, "as much as is allowed", chat(n=2.0, max_tokens=512), None, path=CHAT),
    Case(41, "caption a number", GOOD | {"caption": 5}, "invalid_type", "caption"),
    Case(41, "caption in a list", {"image": IMAGE, "captions": ["a", None]}, "invalid_type", "captions[1]"),
    Case(41, "image a number", GOOD | {"image": 5}, "invalid_type", "image"),
    Case(41, "image's URL a number", GOOD | {"image": {"url": 5}}, "invalid_type", "image.url"),
    Case(41, "temperature a string", chat(temperature="0.5"), "invalid_type", "temperature", path=CHAT),
    Case(41, "n a fraction", chat(n=1.5), "invalid_type", "n", path=CHAT),
    Case(41, "n a truth value", chat(n=True), "invalid_type", "n", path=CHAT),
    Case(41, "stream a string", chat(stream="yes"), "invalid_type", "stream", path=CHAT),
    Case(41, "no object", b"[]", "invalid_type", None),
    Case(41, "messages a string", chat(messages="a"), "invalid_type", "messages", path=CHAT),
    Case(41, "input of nothing", {"input": [None]}, "invalid_type", "input[0]", path="/v1/embeddings"),
    Case(41, "role a number", chat(messages=[{"role": 5}]), "invalid_type", "messages[0].role", path=CHAT),
    Case(41, "unknown role", chat(messages=[{"role": "robot", "content": [PICTURE]}]), "invalid_type",
         "messages[0].role", path=CHAT),
    Case(41, "unknown role of a response", response(input=[{"role": "robot", "content": "a"}]), "invalid_type",
         "input[0].role", path=RESPONSES),
    *(
        Case(41, f"unknown field of {path}", json.dumps({**body, "colour": "red"}).encode(), "unknown_parameter",
             "colour", path=f"/v1/{path}")
        for path, body in BODIES.items()
    ),
    Case(41, "unknown field of an image", GOOD | {"image": {"url": IMAGE, "alt": "a"}}, "unknown_parameter",
         "image.alt"),
    Case(41, "unknown field of an input", {"input": [{"text": "a", "title": "b"}]}, "unknown_parameter",
         "input[0].title", path="/v1/embeddings"),
    Case(41, "unknown field of a message", chat(messages=[MESSAGES[0] | {"colour": "red"}]), "unknown_parameter",
         "messages[0].colour", path=CHAT),
    Case(41, "unknown field of a part", chat(messages=[{"role": "user", "content": [PICTURE | {"colour": "red"}]}]),
         "unknown_parameter", "messages[0].content[0].colour", path=CHAT),
    Case(42, "unknown model", GOOD | {"model": "nobody/nothing"}, "model_not_found", "model", 404),
    Case(42, "a path for a model", GOOD | {"model": "../../etc"}, "model_not_found", "model", 404),
    Case(42, "a long name", GOOD | {"model": "a" * 100_000}, "model_not_found", "model", 404),
    Case(42, "unknown model of a chat", chat(model="gpt-5"), "model_not_found", "model", 404, path=CHAT),
)  # fmt: skip
def test_what_nothing_can_be_done_with(bounded: Service, case: Case) -> None:
    check_case(bounded, case)


@cases(
    Case(42, "captions of a matcher", chat(model="blip-serve/demo-retrieval"), "task_not_supported", "model",
         path=CHAT),
    Case(42, "a match of a captioner", GOOD | {"model": "blip-serve/demo-captioning"}, "task_not_supported", "model"),
    Case(42, "an embedding of a captioner", {"model": "blip-serve/demo-captioning", "input": "a"},
         "task_not_supported", "model", path="/v1/embeddings"),
)  # fmt: skip
def test_a_model_that_lacks_the_task(demo: Service, case: Case) -> None:
    check_case(demo, case)


def test_row42_a_model_of_the_catalogue_that_lacks_the_task_is_not_loaded_to_say_so() -> None:
    other = ModelSettings(id="blip-vqa-base", source="nowhere/at-all")
    with serving(fake_settings(models=(FAKE,), catalogue=True), always(FakeModel())) as service:
        case = Case(42, "catalogue", GOOD | {"model": other.id}, "task_not_supported", "model")
        check_case(service, case)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        pytest.param(method, path, status, code, id=f"row43-{method} {path}")
        for method, path, status, code in (
            ("GET", "/page", 404, "not_found"),
            ("GET", "/v1/nothing", 404, "not_found"),
            ("POST", "/v1/match/", 404, "not_found"),
            ("POST", "/v1/../etc/passwd", 404, "not_found"),
            ("GET", "/" + "a" * 5000, 404, "not_found"),
            ("GET", "/v1/match", 405, "method_not_allowed"),
            ("DELETE", "/v1/embeddings", 405, "method_not_allowed"),
            ("POST", "/readyz", 405, "method_not_allowed"),
            ("PATCH", "/v1/chat/completions", 405, "method_not_allowed"),
        )
    ],
)
def test_unknown_paths_and_methods(bounded: Service, method: str, path: str, status: int, code: str) -> None:
    answer = bounded.client.request(method, path)
    check(answer, status, code, None)
    assert len(answer.text) < 1000
    if status == 405:
        assert answer.headers["allow"]
    check_serves_on(bounded)
