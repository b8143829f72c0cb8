"""Rows 46, 48 and 49: more requests than there is room for, clients that leave, and time that runs out."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from blip_serve.models.fake import FakeModel
from tests.support.asking import chat_messages
from tests.support.errors import check
from tests.support.generating import Stepwise
from tests.support.pictures import data_uri, picture
from tests.support.server import Service, always, fake_settings, sdk, serving
from tests.support.waiting import WAIT_S, wait_until
from tests.threats.cases import GOOD, IMAGE, MESSAGES, check_serves_on

ONE_REQUEST = {
    "max_images": 1,
    "max_zip_pairs": 1,
    "max_captions": 10,
    "max_pairs": 10,
    "max_new_tokens": 1,
    "max_choices": 1,
    "max_explanations": 1,
}
"""Limits under which a queue may be as short as one request of images is long."""
PLAIN = chat_messages("a photo of")
LARGE = {
    "images": [data_uri(picture(seed)) for seed in range(64)],
    "captions": [f"a caption numbered {i}" for i in range(64)],
}


@contextmanager
def on_the_device(service: Service, model: FakeModel) -> Iterator[list[httpx.Response]]:
    """Inside, a request's first step has begun, on a device that is held; the list has its answer afterwards."""
    answers: list[httpx.Response] = []
    url = f"{service.url}/v1/match"
    thread = threading.Thread(target=lambda: answers.append(httpx.post(url, json=GOOD, timeout=WAIT_S)))
    steps = len(model.steps)
    model.open.clear()
    thread.start()
    wait_until(lambda: len(model.steps) == steps + 1)
    try:
        yield answers
    finally:
        thread.join(WAIT_S)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param("/v1/match", GOOD, id="row46-match"),
        pytest.param("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 1}, id="row46-chat"),
        pytest.param(
            "/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 1, "stream": True}, id="row46-streamed"
        ),
        pytest.param("/v1/embeddings", {"input": {"image": IMAGE}}, id="row46-embeddings"),
        pytest.param("/v1/rerank", {"query": "a", "documents": [{"image": IMAGE}]}, id="row46-rerank"),
        pytest.param("/v1/explain", GOOD, id="row46-explain"),
    ],
)
def test_a_full_queue_answers_429_while_the_device_is_busy(path: str, body: dict[str, Any]) -> None:
    model = FakeModel("match", "embed", "caption", "explain")
    settings = fake_settings(engine={"max_queue_cost": 60}, limits=ONE_REQUEST)
    with serving(settings, always(model)) as service:
        with on_the_device(service, model) as answers:
            began = time.monotonic()
            refused = service.client.post(path, json=body)
            assert time.monotonic() - began < 1
            check(refused, 429, "overloaded", None)
            assert 0 < int(refused.headers["retry-after"]) <= 120
            assert answers == []
            model.open.set()
        assert answers[0].status_code == 200
        check_serves_on(service)
        assert service.metric("rejected_requests_total", code="overloaded") == 1


def test_row48_a_client_that_leaves_while_queued_reaches_no_step() -> None:
    model = FakeModel("match", "caption")
    with serving(fake_settings(), always(model)) as service:
        with on_the_device(service, model):
            steps = len(model.steps)
            for stream in (False, True):
                body = {"messages": PLAIN, "stream": stream}
                with pytest.raises(httpx.ReadTimeout):
                    service.client.post("/v1/chat/completions", json=body, timeout=0.3)
            wait_until(lambda: service.metric("queue_requests") == 1)
            model.open.set()
        assert [phase for step in model.steps[steps:] for phase, _, _ in step] == ["score"]
        assert model.free_slots == 8
        wait_until(lambda: service.metric("cancelled_requests_total") == 2)
        check_serves_on(service)


def test_row48_a_client_that_leaves_a_large_request_stops_it() -> None:
    model = FakeModel(step_seconds=0.02)
    with serving(fake_settings(engine={"max_step_cost": 160}), always(model)) as service:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{service.url}/v1/match", json=LARGE, timeout=httpx.Timeout(WAIT_S, read=0.3))
        wait_until(lambda: service.metric("queue_requests") == 0)
        steps = len(model.steps)
        check_serves_on(service)
        assert len(model.steps) <= steps + 3
        assert len(model.steps) < 40
        wait_until(lambda: service.metric("cancelled_requests_total") == 1)


def test_row48_a_client_that_leaves_mid_stream_frees_its_place() -> None:
    model = Stepwise("caption", "match")
    slots = model.free_slots
    with serving(fake_settings(), always(model)) as service, sdk(service) as client:
        model.allow(2)
        with client.chat.completions.create(model="fake", messages=PLAIN, n=2, stream=True) as stream:
            pieces = (chunk for chunk in stream if chunk.choices[0].delta.content)
            next(pieces)
            assert model.free_slots == slots - 2
            assert service.metric("queue_requests") == 1
        wait_until(lambda: service.metric("queue_requests") == 0)
        wait_until(lambda: service.metric("cancelled_requests_total") == 1)
        model.allow(1)
        wait_until(lambda: model.free_slots == slots)
        begun = model.decoding_steps
        assert begun <= 3
        model.allow(100)
        client.chat.completions.create(model="fake", messages=PLAIN, max_tokens=2)
        assert model.decoding_steps == begun + 3
        assert service.metric("errors_total") == 0
        check_serves_on(service)


def test_row49_time_that_runs_out_in_the_queue_is_told_and_never_reaches_the_device() -> None:
    model = FakeModel("match", "caption")
    with serving(fake_settings(server={"request_timeout_s": 0.5}), always(model)) as service:
        with on_the_device(service, model) as answers:
            steps = len(model.steps)
            late = service.client.post("/v1/chat/completions", json={"messages": MESSAGES})
            check(late, 503, "deadline_exceeded", None)
            assert late.headers["x-should-retry"] == "false"
            assert "retry-after" not in late.headers
        check(answers[0], 503, "deadline_exceeded", None)  # its step is on the device still
        assert len(model.steps) == steps
        model.open.set()
        check_serves_on(service)
        assert [phase for step in model.steps[steps:] for phase, _, _ in step] == ["encode", "score"]


def test_row49_a_stream_whose_time_runs_out_says_so() -> None:
    model = Stepwise("caption", "match")
    with serving(fake_settings(server={"request_timeout_s": 0.5}), always(model)) as service:
        model.allow(1)
        text = service.client.post("/v1/chat/completions", json={"messages": PLAIN, "stream": True}).text
        model.allow(100)
        *_, last = text.strip().split("\n\n")
        error = json.loads(last.removeprefix("data: "))["error"]
        assert (error["type"], error["code"]) == ("server_error", "deadline_exceeded")
        check_serves_on(service)
