"""`/livez`, `/readyz`, `/metrics`, the key, and the OpenAPI document."""

import json
import os
import threading
from pathlib import Path

from blip_serve import __version__
from blip_serve.api.app import create_app
from blip_serve.catalogue import ModelCard
from blip_serve.models.fake import FakeModel
from blip_serve.settings import ModelSettings, Settings
from tests.support.server import FAKE, Service, always, fake_settings, serving, with_key
from tests.support.waiting import WAIT_S, wait_until

SNAPSHOT = Path(__file__).with_name("openapi.json")
BODY = {"image": "aGVsbG8=", "caption": "a"}


def test_not_ready_while_a_preloaded_model_loads() -> None:
    loaded = threading.Event()

    def load(settings: ModelSettings, card: ModelCard) -> tuple[FakeModel, ModelCard]:
        assert loaded.wait(WAIT_S)
        return FakeModel(), card

    with serving(fake_settings(), load, ready=False) as service:
        response = service.client.get("/readyz")
        assert response.status_code == 503
        assert response.json() == {"status": "unavailable", "reasons": ["test/fake: loading"]}
        assert service.client.get("/livez").status_code == 200
        loaded.set()
        wait_until(lambda: service.client.get("/readyz").status_code == 200)


def test_health_is_readiness_and_needs_no_key_as_vllm_has_it() -> None:
    loaded = threading.Event()

    def load(settings: ModelSettings, card: ModelCard) -> tuple[FakeModel, ModelCard]:
        assert loaded.wait(WAIT_S)
        return FakeModel(), card

    with serving(fake_settings(auth=with_key("right")), load, ready=False) as service:
        assert service.client.get("/health").status_code == 503
        loaded.set()
        wait_until(lambda: service.client.get("/health").status_code == 200)
        assert service.client.get("/version").status_code == 401
        answer = service.client.get("/version", headers={"authorization": "Bearer right"})
        assert answer.json() == {"version": __version__}


def test_not_ready_before_the_warm_up_was_answered() -> None:
    model = FakeModel()
    model.open.clear()
    with serving(fake_settings(), always(model), ready=False) as service:
        wait_until(lambda: bool(model.steps))
        assert service.client.get("/readyz").status_code == 503
        model.open.set()
        wait_until(lambda: service.client.get("/readyz").status_code == 200)


def test_a_stuck_device_is_not_ready() -> None:
    model = FakeModel()
    with serving(fake_settings(engine={"stall_after_s": 0.01}), always(model)) as service:
        model.open.clear()
        stuck = threading.Thread(target=lambda: service.client.post("/v1/match", json=BODY))
        stuck.start()
        wait_until(lambda: service.client.get("/readyz").status_code == 503)
        assert service.client.get("/readyz").json()["reasons"] == ["the device makes no progress"]
        model.open.set()
        stuck.join(WAIT_S)


def test_metrics_cover_what_operators_watch(demo: Service) -> None:
    page = demo.client.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    for name in (
        "request_seconds_bucket", "image_fetch_seconds_bucket", "image_decode_seconds_bucket",
        "queue_wait_seconds_bucket", "batch_size_bucket", "device_seconds_bucket", "image_cache_hits_total",
        "image_cache_misses_total", "rejected_requests_total", "cancelled_requests_total", "errors_total",
        "queue_cost", "queue_requests", "in_flight_requests", "image_cache_bytes", "model_state",
        "device_memory_bytes",
    ):  # fmt: skip
        assert f"blip_serve_{name}" in page.text, name


def test_metrics_label_requests_by_the_template_of_their_route(demo: Service) -> None:
    demo.client.get("/v1/models/demo")
    demo.client.get("/secret/path")
    wait_until(lambda: 'route="unmatched"' in demo.client.get("/metrics").text)  # counted once the answer has left
    page = demo.client.get("/metrics").text
    assert 'route="/v1/models/{name:path}"' in page
    assert "secret" not in page


def test_the_openapi_document_is_the_snapshot() -> None:
    """Rewrite it with `UPDATE_SNAPSHOTS=1 make test` after a change that is meant."""
    document = create_app(Settings(models=(FAKE,))).openapi()
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text(json.dumps(document, indent=1) + "\n")
    assert document == json.loads(SNAPSHOT.read_text())
    assert "422" not in json.dumps(document)
