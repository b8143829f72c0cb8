"""Pages of other origins: `server.cors_origins`, as browsers ask and read it. A real browser is in tests/browser."""

from collections.abc import Iterator

import pytest

from blip_serve.api.browsers import EXPOSED
from blip_serve.models.fake import FakeModel
from tests.support.errors import check
from tests.support.server import Service, always, fake_settings, serving, with_key

PAGE = "https://pages.test"
KEY = {"authorization": "Bearer right"}
BODY = {"image": "aGVsbG8=", "caption": "a"}
PREFLIGHT = {
    "origin": PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-stainless-retry-count",
}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """A service that one page may use, with a key that has used up its rate at the third request."""
    settings = fake_settings(auth=with_key("right", rate="2/hour"), server={"cors_origins": (PAGE,)})
    model = FakeModel("match")
    with serving(settings, always(model)) as running:
        yield running


def test_a_preflight_is_answered_before_keys_and_rates(service: Service) -> None:
    for _ in range(3):
        answer = service.client.options("/v1/match", headers=PREFLIGHT)
        assert answer.status_code == 200
    allowed = answer.headers
    assert allowed["access-control-allow-origin"] == PAGE
    assert "POST" in allowed["access-control-allow-methods"]
    assert set(PREFLIGHT["access-control-request-headers"].split(",")) <= set(
        allowed["access-control-allow-headers"].split(",")
    )
    assert "access-control-allow-credentials" not in allowed
    assert "Origin" in allowed["vary"]


def test_every_answer_can_be_read_with_the_headers_clients_use(service: Service) -> None:
    """A good one, one over the rate, one without a key, an unknown path."""
    page = {"origin": PAGE}
    found = [service.client.post("/v1/match", json=BODY, headers=KEY | page) for _ in range(3)]
    found += [service.client.post("/v1/match", json=BODY, headers=page)]
    assert [answer.status_code for answer in found] == [200, 200, 429, 401]
    for answer in found:
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "Origin" in answer.headers["vary"]
        assert "access-control-allow-credentials" not in answer.headers
        assert {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")} == set(EXPOSED)
    told = {name for answer in found for name in answer.headers if name in EXPOSED}
    assert told == set(EXPOSED) - {"x-should-retry"}


def test_a_fault_of_ours_can_be_read_too() -> None:
    def fail(works: object) -> None:
        if broken:
            raise RuntimeError

    broken = False
    settings = fake_settings(server={"cors_origins": (PAGE,)})
    with serving(settings, always(FakeModel(on_launch=fail))) as running:
        broken = True
        answer = running.client.post("/v1/match", json=BODY, headers={"origin": PAGE})
    assert answer.status_code == 500
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["x-should-retry"] == "false"


def test_other_pages_get_no_leave(service: Service) -> None:
    evil = {"origin": "https://evil.test"}
    answer = service.client.options("/v1/match", headers=PREFLIGHT | evil)
    assert answer.status_code == 401
    assert not [name for name in answer.headers if name.startswith("access-control")]
    check(service.client.post("/v1/match", json=BODY, headers=KEY | evil), 403, "origin_not_allowed", "origin")


def test_without_origins_there_is_no_cors(demo: Service) -> None:
    check(demo.client.options("/v1/match", headers=PREFLIGHT), 405, "method_not_allowed", None)
    answer = demo.client.get("/v1/models", headers={"origin": demo.url})
    assert not [name for name in answer.headers if name.startswith("access-control")]
