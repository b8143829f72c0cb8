"""`calibrated_score` over HTTP: where the settings name a calibration, and which are refused."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blip_serve.calibration import Calibration, Identity
from blip_serve.catalogue import EMBEDDED
from blip_serve.settings import ModelSettings
from tests.support.calibrating import DEMO, calibration, demo_identity
from tests.support.server import Service, serving, settings
from tests.support.waiting import wait_until

RED = "data:image/png;base64," + base64.b64encode((EMBEDDED / "pictures" / "red-circle.png").read_bytes()).decode()
TEXTS = ["a large red circle", "a large blue circle"]


def named(*files: Path) -> ModelSettings:
    return ModelSettings(id=DEMO, preload=True, calibration=files)


@pytest.fixture(scope="module")
def made() -> Calibration:
    return calibration(demo_identity())


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, made: Calibration) -> Iterator[Service]:
    file = tmp_path_factory.mktemp("calibrated") / "calibration.json"
    made.write(file)
    with serving(settings(models=(named(file),))) as running:
        yield running


def post(service: Service, path: str, **body: Any) -> list[dict[str, Any]]:
    response = service.client.post(path, json=body)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["results" if "rerank" in path else "data"]
    return found


def test_a_match_has_the_calibrated_score_of_its_logits(service: Service, made: Calibration) -> None:
    found = post(service, "/v1/match", image=RED, captions=TEXTS)
    assert [each["calibrated_score"] for each in found] == [made.apply(tuple(each["itm_logits"])) for each in found]
    assert found[0]["calibrated_score"] > 0.5 > found[1]["calibrated_score"]


def test_without_the_match_logits_there_is_none(service: Service) -> None:
    assert "calibrated_score" not in post(service, "/v1/match", image=RED, caption=TEXTS[0], scores=["cosine"])[0]


def test_the_other_protocol_has_none(service: Service) -> None:
    for path, body in (("match", {"image": RED, "captions": TEXTS}), ("score", {"queries": RED, "items": TEXTS})):
        found = post(service, f"/v1/{path}", protocol="paper", **body)
        assert not [each for each in found if "calibrated_score" in each]


@pytest.mark.parametrize("shortlist", [None, 2])
def test_rerank_and_score_have_it_beside_their_number(service: Service, shortlist: int | None) -> None:
    expected = [each["calibrated_score"] for each in post(service, "/v1/match", image=RED, captions=TEXTS)]
    ranked = post(service, "/v1/rerank", query={"image": RED}, documents=TEXTS, shortlist=shortlist)
    assert [each["calibrated_score"] for each in ranked] == pytest.approx(expected, abs=1e-5)
    assert [each["relevance_score"] for each in ranked] == [each["itm_score"] for each in ranked]
    scored = post(service, "/v1/score", queries=RED, items=TEXTS)
    assert [each["calibrated_score"] for each in scored] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        (Identity("sha256:other", "float32"), "checkpoint sha256:other"),
        (Identity("", "bfloat16"), "number type bfloat16, and here it is float32"),
        (None, "not a calibration"),
    ],
)
def test_one_of_another_checkpoint_or_number_type_fails_the_model_and_not_the_service(
    tmp_path: Path, identity: Identity | None, reason: str
) -> None:
    file = tmp_path / "calibration.json"
    if identity is None:
        file.write_text("{}")
    else:
        calibration(Identity(identity.digest or demo_identity().digest, identity.dtype)).write(file)
    with serving(settings(models=(named(file),)), ready=False) as service:
        page = f"/v1/models/{DEMO}"
        wait_until(lambda: service.client.get(page).json()["state"] == "failed")
        error = service.client.get(page).json()["error"]
        assert str(file) in error
        assert reason in error
        assert service.client.get("/livez").status_code == 200
        answer = service.client.post("/v1/match", json={"image": RED, "caption": TEXTS[0]})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "load_failed")
