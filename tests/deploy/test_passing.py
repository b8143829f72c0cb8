"""What passes through a balancer: streams, uploads, ids, addresses; and what it answers itself."""

import time

import httpx
import pytest

from blip_serve.settings import ServerSettings
from tests.deploy.balancers import Balancer
from tests.deploy.conftest import STEP_S
from tests.deploy.load import IMAGE
from tests.deploy.parts import DOCKER, await_answer
from tests.deploy.replicas import Replica
from tests.support.asking import chat_messages, response_input
from tests.support.waiting import WAIT_S, wait_until

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(300)]
WORDS = 6
"""That the fake model writes, a step each."""


def client_of(balancer: Balancer) -> httpx.Client:
    return httpx.Client(base_url=balancer.url, trust_env=False, timeout=WAIT_S)


@pytest.mark.parametrize(
    ("path", "asked"), [("chat/completions", {"messages": chat_messages()}), ("responses", {"input": response_input()})]
)
def test_streams_arrive_piece_by_piece(balancer: Balancer, path: str, asked: dict[str, object]) -> None:
    body = {"model": "test/fake", "stream": True} | asked
    with client_of(balancer) as client, client.stream("POST", f"/v1/{path}", json=body) as stream:
        arrived = [(time.monotonic(), piece) for piece in stream.iter_raw()]
    words = [(at, piece) for at, piece in arrived if b"delta" in piece]
    assert len(words) >= WORDS / 2, "they came together"
    assert words[-1][0] - words[0][0] > 2 * STEP_S, "they came together"


def test_a_large_body_passes_and_one_over_the_limit_is_refused_as_the_service_does(balancer: Balancer) -> None:
    limit = ServerSettings().max_body_bytes
    for name in ("nginx.conf", "haproxy.cfg"):
        assert str(limit) in (DOCKER / name).read_text(encoding="utf-8")
    with client_of(balancer) as client:
        large = {"image": "A" * (8 * 1024 * 1024), "caption": "a"}
        assert client.post("/v1/match", json=large).status_code == 200
        refused = client.post("/v1/match", content=b"A" * (limit + 1), headers={"content-type": "application/json"})
    assert refused.status_code == 413
    assert refused.json()["error"] | {"message": ""} == {
        "message": "", "type": "invalid_request_error", "param": None, "code": "request_too_large"
    }  # fmt: skip
    assert refused.headers["x-request-id"]


def test_a_request_id_is_kept_or_made(balancer: Balancer) -> None:
    with client_of(balancer) as client:
        assert client.get("/v1/models", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
        made = [
            client.get("/v1/models", headers=headers).headers["x-request-id"]
            for headers in ({}, {"x-request-id": "a b"})
        ]
        assert made[0] != made[1]
        assert "a b" not in made
        assert not any(each.startswith("req-") for each in made), "the service made it, so the balancer's log has none"


def test_the_service_logs_the_clients_address_and_not_a_forged_one(balancer: Balancer, three: list[Replica]) -> None:
    name = f"address-{balancer.name}"
    with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.7"), base_url=balancer.url) as client:
        client.get("/v1/models", headers={"x-request-id": name, "x-forwarded-for": "203.0.113.9"})
    lines: list[str] = []

    def logged() -> bool:
        lines[:] = [line for each in three for line in each.log.read_text().splitlines() if f"id={name} " in line]
        return bool(lines)

    wait_until(logged)
    assert "client=127.0.0.7 " in lines[0]


def test_metrics_are_not_for_clients(balancer: Balancer) -> None:
    with client_of(balancer) as client:
        answer = client.get("/metrics")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert answer.headers["x-request-id"]


def test_without_any_replica_the_answer_is_an_error_in_openais_envelope(
    balancer: Balancer, three: list[Replica]
) -> None:
    for replica in three:
        replica.kill()
    try:
        with client_of(balancer) as client:
            answer = client.post("/v1/match", json={"image": IMAGE, "caption": "a"})
    finally:
        for replica in three:
            replica.start_again()
    await_answer(f"{balancer.url}/readyz")
    assert answer.status_code == 503
    assert answer.json()["error"]["type"] == "server_error"
    assert (answer.headers["retry-after"], answer.headers["content-type"]) == ("1", "application/json")
    assert answer.headers["x-request-id"]
