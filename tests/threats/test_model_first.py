"""Row 83: an unknown model is said to be unknown before any other fault of the request, on every endpoint."""

from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from blip_serve.models.fake import FakeModel
from blip_serve.settings import DEMO
from tests.support.errors import check
from tests.support.server import FAKE, Service, always, fake_settings, serving, with_key

PATHS = [f"/v1/{name}" for name in ("match", "chat/completions", "responses", "decisions", "embeddings", "rerank",
         "score", "embed", "explain")] + ["/v2/rerank", "/v2/embed", "/rerank", "/score"]  # fmt: skip
FAULTS: Mapping[str, Mapping[str, Any]] = {
    "nothing else": {},
    "an unknown field": {"colour": "red"},
    "wrong types": dict.fromkeys(
        ("image", "caption", "messages", "input", "questions", "query", "documents", "queries", "texts"), 7
    ),
    "many faults": {"messages": [], "input": [], "documents": [], "query": None, "protocol": "mine", "n": -1},
    "what is read after the types": {
        "image": "file:///etc/passwd",
        "caption": "",
        "messages": [{"role": "user", "content": "x"}],
        "input": "",
        "questions": [],
        "query": "a",
        "documents": ["a"],
        "queries": ["a"],
        "texts": [""],
    },
}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """Keyed: one key may use the fake, and not the demo."""
    settings = fake_settings(models=(FAKE, DEMO.model_copy(update={"preload": False})),
                             auth=with_key("right", models=("fake",)))  # fmt: skip
    with serving(settings, always(FakeModel("match", "embed", "caption", "answer", "explain"))) as running:
        yield running


def post(service: Service, path: str, **given: Any) -> httpx.Response:
    return service.client.post(path, headers={"authorization": "Bearer right"}, **given)


@pytest.mark.parametrize("path", [pytest.param(path, id=f"row83-{path}") for path in PATHS])
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_else_is_wrong(service: Service, path: str, fault: str) -> None:
    check(post(service, path, json={**FAULTS[fault], "model": "nope"}), 404, "model_not_found", "model")
    check(post(service, path, json={**FAULTS[fault], "model": "demo"}), 403, "model_not_allowed", "model")
    assert post(service, path, json={**FAULTS[fault], "model": "fake", "colour": 1}).status_code == 400


@pytest.mark.parametrize("path", [pytest.param(path, id=f"row83-no name {path}") for path in PATHS])
def test_an_empty_name_is_refused_and_none_is_the_default(service: Service, path: str) -> None:
    check(post(service, path, json={"model": ""}), 400, "invalid_value", "model")
    assert post(service, path, json={"model": None, "colour": 1}).json()["error"]["param"] != "model"


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param({"data": {"model": "nope"}, "files": {"other": b"x"}}, id="row83-form with an unknown part"),
        pytest.param({"data": {"model": "nope"}, "files": {"image": b""}}, id="row83-form without a caption"),
        pytest.param(
            {"data": {"model": "nope", "protocol": "mine"}, "files": {"image": b"x"}}, id="row83-form's option"
        ),
        pytest.param({"data": {"model": ["nope", "no"]}, "files": {"image": b"x"}}, id="row83-form of two models"),
    ],
)
def test_in_a_form(service: Service, parts: Mapping[str, Any]) -> None:
    check(post(service, "/v1/match", **parts), 404, "model_not_found", "model")


def test_row83_in_a_form_that_another_key_may_send(service: Service) -> None:
    refused = post(service, "/v1/match", data={"model": "demo"}, files={"other": b"x"})
    check(refused, 403, "model_not_allowed", "model")
    check(post(service, "/v1/match", data={"model": ""}, files={"image": b"x"}), 400, "invalid_value", "model")


def test_row83_what_is_no_json_names_no_model(service: Service) -> None:
    json = {"authorization": "Bearer right", "content-type": "application/json"}
    check(service.client.post("/v1/match", content=b'{"model": "nope", ', headers=json), 400, "invalid_json", None)
    check(service.client.post("/v1/match", content=b'["model", "nope"]', headers=json), 400, "invalid_type", None)
    check(post(service, "/v1/match", json={"model": 7}), 400, "invalid_type", "model")
