"""The spans of requests, as a collector receives them."""

import base64
import json
import re
import time
from collections.abc import Iterator

import pytest

from blip_serve.models.fake import FakeModel
from tests.support.collector import ERROR, Collector, Span, collecting, sending_to, uncovered
from tests.support.pictures import data_uri, encoded, picture
from tests.support.server import Service, always, fake_settings, serving, with_key
from tests.support.waiting import wait_until

KEY, CAPTION, QUERY, QUESTION = "sk-canarykey", "canarycaption", "canaryquery", "canaryquestion"
PARENT = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
TRACEPARENT = f"00-{PARENT[0]}-{PARENT[1]}-01"
STEP_S = 0.05
SERVER = 2
"""`SPAN_KIND_SERVER`."""
DEAD = "http://127.0.0.1:9"


def slow() -> FakeModel:
    return FakeModel("match", "embed", "caption", "answer", step_seconds=STEP_S)


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def service(collector: Collector) -> Iterator[Service]:
    """A traced service with a key."""
    with (
        sending_to(collector.url, SERVICE_NAME="the-name"),
        serving(fake_settings(auth=with_key(KEY)), always(slow())) as service,
    ):
        service.client.headers["authorization"] = f"Bearer {KEY}"
        yield service


def body(number: int) -> dict[str, object]:
    return {"image": data_uri(picture(number)), "captions": [CAPTION, f"{CAPTION} 2"]}


def asked(collector: Collector, request_id: str) -> Span:
    """The span of a request, once it is there."""

    def found() -> list[Span]:
        return [span for span in collector.spans() if span.attributes.get("blip_serve.request_id") == request_id]

    wait_until(lambda: bool(found()))
    return found()[0]


def stages(header: str) -> float:
    """The nanoseconds that the header `server-timing` tells of."""
    return sum(float(ms) for ms in re.findall(r"dur=([\d.]+)", header)) * 1e6


def test_stages_nest_below_the_clients_span_and_leave_only_the_gateways_time(
    collector: Collector, service: Service
) -> None:
    headers = {"traceparent": TRACEPARENT, "x-request-id": "whole"}
    answer = service.client.post("/v1/match", json=body(1), headers=headers)
    span = asked(collector, "whole")
    assert (span.name, span.kind, span.trace, span.parent) == ("POST /v1/match", SERVER, *PARENT)
    children = collector.below(span)
    assert {child.name for child in children} == {"fetch", "decode", "prepare", "queue", "device"}
    [device] = [child for child in children if child.name == "device"]
    assert [phase.name for phase in collector.below(device)] == ["encode", "score"]
    for above, below in ((span, children), (device, collector.below(device))):
        assert all(above.start <= each.start <= each.end <= above.end for each in below)
        assert {each.trace for each in below} == {span.trace}
    rounding = 4 * 0.05e6
    assert uncovered(span, children) <= span.length - stages(answer.headers["server-timing"]) + rounding
    assert device.length >= 2 * STEP_S * 1e9
    assert uncovered(device, collector.below(device)) < STEP_S * 1e9


def test_a_span_says_what_is_known_and_how_many_tokens(collector: Collector, service: Service) -> None:
    used = service.client.post("/v1/match", json=body(2), headers={"x-request-id": "told"}).json()["usage"]
    assert asked(collector, "told").attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/match",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "blip_serve.request_id": "told",
        "blip_serve.key": "tester",
        "blip_serve.task": "match",
        "blip_serve.usage.image_tokens": used["prompt_tokens_details"]["image_tokens"],
        "gen_ai.operation.name": "match",
        "gen_ai.provider.name": "blip_serve",
        "gen_ai.request.model": "test/fake",
        "gen_ai.usage.input_tokens": used["prompt_tokens"],
        "gen_ai.usage.output_tokens": 0,
        "gen_ai.usage.cache_read.input_tokens": 0,
    }
    assert collector.resources[0]["service.name"] == "the-name"


def test_a_log_line_names_its_trace(collector: Collector, capfd: pytest.CaptureFixture[str]) -> None:
    log = {"level": "info", "format": "json"}
    with sending_to(collector.url), serving(fake_settings(log=log), always(FakeModel())) as service:
        service.client.post("/v1/match", json=body(2), headers={"x-request-id": "logged"})
        span = asked(collector, "logged")
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["trace_id"] for line in lines if line.get("id") == "logged"] == [span.trace]


def test_a_stream_is_one_span_until_its_last_byte(collector: Collector, service: Service) -> None:
    asked_for = {
        "model": "fake",
        "stream": True,
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": data_uri(picture(3))}},
                    {"type": "text", "text": QUESTION},
                ],
            }
        ],
    }
    answer = service.client.post("/v1/chat/completions", json=asked_for, headers={"x-request-id": "stream"})
    assert answer.text.endswith("data: [DONE]\n\n")
    span = asked(collector, "stream")
    [device] = [child for child in collector.below(span) if child.name == "device"]
    phases = {phase.name: phase for phase in collector.below(device)}
    assert phases["decode"].attributes["blip_serve.count"] == span.attributes["gen_ai.usage.output_tokens"]
    assert span.attributes["gen_ai.operation.name"] == "generate_content"
    assert device.end <= span.end
    assert uncovered(span, collector.below(span)) < span.length / 2


@pytest.mark.parametrize(
    ("given", "status", "marked"), [({"caption": ""}, 400, False), ({"image": "http://canary.invalid/"}, 400, False)]
)
def test_a_clients_error_is_no_error_of_the_span(
    collector: Collector, service: Service, given: dict[str, str], status: int, marked: bool
) -> None:
    sent = {"image": "aGVsbG8=", "caption": CAPTION} | given
    answer = service.client.post("/v1/match", json=sent, headers={"x-request-id": f"bad-{len(sent['image'])}"})
    span = asked(collector, f"bad-{len(sent['image'])}")
    assert answer.status_code == span.attributes["http.response.status_code"] == status
    assert span.attributes["blip_serve.error_code"] == answer.json()["error"]["code"]
    assert (span.status == ERROR) == marked


def test_what_is_our_fault_is_an_error_with_its_code(collector: Collector) -> None:
    def fail(works: object) -> None:
        if len(model.steps) > 2:  # the warm-up's
            raise RuntimeError(CAPTION)

    model = FakeModel(on_launch=fail)
    with sending_to(collector.url), serving(fake_settings(), always(model)) as service:
        answer = service.client.post("/v1/match", json=body(4), headers={"x-request-id": "ours"})
        assert answer.status_code == 500
        span = asked(collector, "ours")
    assert (span.status, span.attributes["error.type"]) == (ERROR, "internal_error")


def test_a_load_that_is_waited_for_is_a_stage(collector: Collector) -> None:
    def load(*given: object) -> tuple[FakeModel, object]:
        time.sleep(STEP_S)
        return slow(), given[1]

    lazy = fake_settings(models=({"id": "test/fake"},))
    with sending_to(collector.url), serving(lazy, load, ready=False) as service:  # type: ignore[arg-type]
        service.client.post("/v1/match", json=body(5), headers={"x-request-id": "lazy"})
        span = asked(collector, "lazy")
    [loading] = [child for child in collector.below(span) if child.name == "load"]
    assert loading.length >= STEP_S * 1e9
    assert "canary" not in span.name


def test_no_picture_no_text_and_no_key_is_sent(collector: Collector, service: Service) -> None:
    service.client.post(f"/v1/match?key={QUERY}", json=body(6), headers={"x-canary": "canary", "baggage": "a=canary"})
    service.client.get(f"/canary/{QUERY}", headers={"x-request-id": "unmatched"})
    service.client.get("/v1/models/canary", headers={"user-agent": "canary"})
    service.client.post("/v1/match", files={"image": ("canary.png", encoded(picture(6)))}, data={"caption": CAPTION})
    service.client.request("PROPFIND", "/v1/match", headers={"x-request-id": "method"})
    assert asked(collector, "unmatched").name == "GET"
    assert asked(collector, "method").name.startswith("HTTP")
    sent = b"".join(collector.received)
    picture_bytes = encoded(picture(6))
    assert b"canary" not in sent.lower()
    assert picture_bytes not in sent
    assert base64.b64encode(picture_bytes)[:40] not in sent


def test_probes_and_what_is_not_sampled_are_not_sent(collector: Collector, service: Service) -> None:
    unsampled = TRACEPARENT[:-2] + "00"
    service.client.get("/readyz", headers={"x-request-id": "probe"})
    service.client.post("/v1/match", json=body(7), headers={"traceparent": unsampled, "x-request-id": "unsampled"})
    service.client.post("/v1/match", json=body(7), headers={"traceparent": "00-canary", "x-request-id": "after"})
    after = asked(collector, "after")
    assert after.parent == ""
    assert not {"probe", "unsampled"} & {span.attributes.get("blip_serve.request_id") for span in collector.spans()}


def test_the_last_spans_are_sent_when_the_service_ends() -> None:
    with collecting() as collector:
        late = {"BSP_SCHEDULE_DELAY": "3600000"}
        with sending_to(collector.url, **late), serving(fake_settings(), always(FakeModel())) as service:
            service.client.post("/v1/match", json=body(9))
            assert not collector.spans()
        assert [span.name for span in collector.spans("POST /v1/match")] == ["POST /v1/match"]


def test_an_error_in_a_stream_that_has_begun_is_told(collector: Collector) -> None:
    def fail(works: object) -> None:
        if len(model.steps) > 6:  # the warm-up's, and those of some words
            raise RuntimeError(CAPTION)

    model = FakeModel("caption", on_launch=fail)
    with sending_to(collector.url), serving(fake_settings(), always(model)) as service:
        content = [{"type": "input_image", "image_url": data_uri(picture(3))}]
        asked_for = {"model": "fake", "stream": True, "input": [{"role": "user", "content": content}]}
        answer = service.client.post("/v1/responses", json=asked_for, headers={"x-request-id": "broken"})
        assert "response.failed" in answer.text
        span = asked(collector, "broken")
    assert (span.attributes["http.response.status_code"], span.attributes["blip_serve.error_code"]) == (
        200,
        "internal_error",
    )


def test_a_collector_that_is_away_disturbs_no_request() -> None:
    with sending_to(DEAD, EXPORTER_OTLP_TIMEOUT="0.1"), serving(fake_settings(), always(FakeModel())) as service:
        assert service.client.post("/v1/match", json=body(8)).status_code == 200
        assert service.client.post("/v1/match", json=body(8)).status_code == 200
