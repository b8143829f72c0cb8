"""Loading and unloading models over HTTP, and what a model's page shows of this machine."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from blip_serve.catalogue import ModelCard
from blip_serve.domain import AnyModel
from blip_serve.findings import Finding, Findings
from blip_serve.fit import NAME, Fit
from blip_serve.keys import digest
from blip_serve.memory import Footprint
from blip_serve.models.fake import FakeModel
from blip_serve.settings import ModelSettings
from tests.support.errors import check
from tests.support.making import Making
from tests.support.server import FAKE, Service, fake_settings, serving
from tests.support.waiting import wait_until

OTHER = ModelSettings(id="test/other", aliases=("other",))
USE = {"model": "other", "image": "aGVsbG8=", "caption": "a"}


def make(settings: ModelSettings, card: ModelCard) -> tuple[AnyModel, ModelCard]:
    return FakeModel(), card


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving(fake_settings(models=(FAKE, OTHER)), Making(make, size=10**9, budget=2 * 10**9)) as running:
        yield running


@pytest.mark.parametrize("name", ["test/other", "other"])
def test_a_model_is_loaded_and_unloaded_as_often_as_asked(service: Service, name: str) -> None:
    for _ in range(2):
        for _ in range(2):
            answer = service.client.post(f"/v1/models/{name}/load")
            assert (answer.status_code, answer.json()["id"], answer.json()["state"]) == (200, OTHER.id, "ready")
        for _ in range(2):
            answer = service.client.post(f"/v1/models/{name}/unload")
            assert (answer.status_code, answer.json()["state"]) == (200, "unloaded")


def test_a_preloaded_model_stays(service: Service) -> None:
    answer = service.client.post("/v1/models/test/fake/unload")
    check(answer, 409, "model_pinned", None)
    assert answer.headers["x-should-retry"] == "false"
    assert service.client.post("/v1/models/fake/load").json()["state"] == "ready"


@pytest.mark.parametrize("verb", ["load", "unload"])
def test_an_unknown_model_is_not_found(service: Service, verb: str) -> None:
    check(service.client.post(f"/v1/models/nobody/{verb}"), 404, "model_not_found", "model")
    check(service.client.post(f"/v1/models//{verb}"), 400, "invalid_value", "model")


def test_other_ways_to_ask_stay_what_they_were(service: Service) -> None:
    check(service.client.post("/v1/models/test/other"), 405, "method_not_allowed", None)
    check(service.client.get("/v1/models/test/other/load"), 404, "model_not_found", "model")


def test_a_page_of_the_web_may_not_unload(service: Service) -> None:
    answer = service.client.post("/v1/models/other/unload", headers={"origin": "https://example.org"})
    assert answer.status_code == 403


def test_a_model_in_use_stays_until_it_is_not() -> None:
    model = FakeModel()
    models = (FAKE, OTHER)
    with serving(fake_settings(models=models), lambda settings, card: (model, card)) as service:
        assert service.client.post("/v1/models/other/load").status_code == 200
        before = len(model.steps)
        model.open.clear()
        asking = threading.Thread(target=service.client.post, args=("/v1/match",), kwargs={"json": USE})
        asking.start()
        wait_until(lambda: len(model.steps) > before)
        answer = service.client.post("/v1/models/other/unload")
        check(answer, 409, "model_in_use", None)
        assert answer.headers["retry-after"] == "1"
        model.open.set()
        asking.join()
        assert service.client.post("/v1/models/other/load").json()["state"] == "ready"


def test_keys_need_the_right_to_load_and_unload() -> None:
    keys = (
        {"name": "operator", "sha256": digest("operator"), "manage_models": True},
        {"name": "limited", "sha256": digest("limited"), "manage_models": True, "models": ("test/fake",)},
        {"name": "user", "sha256": digest("user")},
    )
    with serving(fake_settings(models=(FAKE, OTHER), auth={"keys": keys}), make) as service:

        def ask(key: str, verb: str) -> tuple[int, str]:
            headers = {"authorization": f"Bearer {key}"}
            answer = service.client.post(f"/v1/models/other/{verb}", headers=headers)
            content = answer.json()
            return answer.status_code, content["state"] if "state" in content else content["error"]["code"]

        for verb, state in (("load", "ready"), ("unload", "unloaded")):
            assert ask("user", verb) == (403, "management_not_allowed")
            assert ask("limited", verb) == (403, "model_not_allowed")
            assert ask("stranger", verb) == (401, "invalid_api_key")
            assert ask("operator", verb) == (200, state)


def test_what_never_fits_is_refused_for_good() -> None:
    with serving(fake_settings(models=(FAKE, OTHER)), Making(make, size=10**9, budget=15 * 10**8)) as service:
        for answer in (service.client.post("/v1/models/other/load"), service.client.post("/v1/match", json=USE)):
            check(answer, 503, "insufficient_memory", None)
            assert answer.headers["x-should-retry"] == "false"
            assert "needs 1.00 GB" in answer.text
            assert "leave 500.0 MB" in answer.text


def test_a_model_s_page_shows_what_was_found_out_about_it(tmp_path: Path) -> None:
    findings = Findings(tmp_path)
    measured = Fit.of(Footprint(10, 20, 30, 40, dtype="bfloat16"), fits=True, pairs=2.5)
    common = {"model": OTHER.id, "digest": "", "dtype": "bfloat16", "machine": "here"}
    findings.keep(Finding(kind="fit", name=NAME, figures=measured.figures, **common))
    findings.keep(Finding(kind="evaluation", name="retrieval", figures={"TR@1": 0.5}, **common))
    findings.keep(Finding(kind="evaluation", name="retrieval", figures={"TR@1": 0.4}, **common | {"model": FAKE.id}))
    with serving(fake_settings(models=(FAKE, OTHER), data_dir=tmp_path), make) as service:
        page = service.client.get("/v1/models/other").json()
        assert page["fit"] == [
            {
                "dtype": "bfloat16",
                "rest_bytes": 10,
                "step_bytes": 50,
                "held_bytes": 60,
                "fits": True,
                "pairs_per_second": 2.5,
            }
        ]
        assert [(each["name"], each["figures"]) for each in page["findings"]] == [("retrieval", {"TR@1": 0.5})]
        assert all("findings" not in each for each in service.client.get("/v1/models").json()["data"])
        assert str(tmp_path) not in service.client.get("/v1/models/other").text
