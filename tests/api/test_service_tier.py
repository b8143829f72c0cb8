"""`service_tier`, OpenAI's own field: which requests are background work, and what the answers say of it."""

import time
from collections.abc import Iterator
from typing import Any, get_args

import httpx
import openai
import pytest

from blip_serve.domain import ServiceTier
from blip_serve.models.fake import FakeModel
from tests.api.test_endpoint import BODIES
from tests.support.asking import IMAGE, chat_messages, response_input
from tests.support.errors import check
from tests.support.server import Service, always, fake_settings, sdk, serving, with_key
from tests.support.waiting import WAIT_S

TIERS = (*get_args(ServiceTier), None)
CONTENT = {"messages": chat_messages("a")}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """Anyone may call it."""
    with serving(fake_settings(), always(FakeModel("match", "embed", "caption", "answer", "explain"))) as running:
        yield running


@pytest.fixture(scope="module")
def limited() -> Iterator[Service]:
    """Its one key is limited to background work."""
    chosen = fake_settings(auth=with_key("right", flex_only=True))
    with serving(chosen, always(FakeModel("match", "embed", "caption", "answer", "explain"))) as running:
        yield running


def served(tier: str | None) -> str:
    """The tier that an answer names."""
    return "flex" if tier == "flex" else "default"


def post(service: Service, path: str, **body: Any) -> httpx.Response:
    return service.client.post(path, json=body, headers={"authorization": "Bearer right"})


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("tier", TIERS)
def test_every_endpoint_takes_every_tier(service: Service, path: str, tier: str | None) -> None:
    response = post(service, path, **BODIES[path], service_tier=tier)
    assert response.status_code == 200, response.text
    if path in ("/v1/chat/completions", "/v1/responses"):
        assert response.json()["service_tier"] == served(tier)


@pytest.mark.parametrize("path", BODIES)
def test_another_tier_is_refused_by_name(service: Service, path: str) -> None:
    check(post(service, path, **BODIES[path], service_tier="cheap"), 400, "invalid_value", "service_tier")


def test_a_form_takes_it_too(service: Service) -> None:
    for tier, status in (("flex", 200), ("auto", 200), ("cheap", 400)):
        form = {"image": IMAGE, "caption": "a dog", "service_tier": tier}
        answer = service.client.post("/v1/match", files={name: (None, value) for name, value in form.items()})
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize("tier", ["auto", "flex"])
def test_streams_say_which_tier_it_was(service: Service, tier: Any) -> None:
    with sdk(service) as client:
        chunks = client.chat.completions.create(
            model="fake", messages=chat_messages("a"), service_tier=tier, stream=True
        )
        assert {chunk.service_tier for chunk in chunks} == {served(tier)}
        events = client.responses.create(model="fake", input=response_input("a"), service_tier=tier, stream=True)
        told = [event.response.service_tier for event in events if hasattr(event, "response")]
        assert told == [served(tier)] * 2


@pytest.mark.parametrize("path", BODIES)
def test_a_key_limited_to_background_work_may_ask_for_no_other(limited: Service, path: str) -> None:
    for tier in ("auto", "flex", None):
        response = post(limited, path, **BODIES[path], service_tier=tier)
        assert response.status_code == 200, response.text
        assert response.json().get("service_tier", "flex") == "flex"
    for tier in ("default", "priority", "scale"):
        refused = post(limited, path, **BODIES[path], service_tier=tier)
        check(refused, 403, "service_tier_not_allowed", "service_tier")


def test_a_stream_is_refused_as_well(limited: Service) -> None:
    refused = post(limited, "/v1/chat/completions", **CONTENT, stream=True, service_tier="default")
    check(refused, 403, "service_tier_not_allowed", "service_tier")
    with sdk(limited, "right") as client, pytest.raises(openai.PermissionDeniedError):
        client.responses.create(model="fake", input=response_input("a"), service_tier="priority", stream=True)


@pytest.mark.parametrize(("tier", "status"), [("auto", "too late"), ("flex", "whole")])
def test_a_stream_has_the_time_of_its_class(tier: str, status: str) -> None:
    """A step takes longer than twice the time of an interactive request."""
    chosen = fake_settings(server={"request_timeout_s": 0.2, "background_timeout_s": WAIT_S})
    model = FakeModel("caption", on_launch=lambda works: time.sleep(0.5 if works[0].phase == "decode" else 0))
    with serving(chosen, always(model)) as running:
        answer = post(running, "/v1/chat/completions", **CONTENT, stream=True, service_tier=tier)
        assert ("whole" if "[DONE]" in answer.text else "too late") == status
