"""What passes through a balancer: streams, uploads, ids, addresses; and what it answers itself."""

import base64
import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import httpx
import pytest

from blip_serve.settings import ServerSettings
from tests.deploy.balancers import Backend, Balancer, haproxy, nginx
from tests.deploy.conftest import STEP_S
from tests.deploy.load import IMAGE
from tests.deploy.mortals import mortals
from tests.deploy.parts import DOCKER, await_answer
from tests.deploy.replicas import Replica
from tests.support import raw
from tests.support.asking import chat_messages, response_input
from tests.support.waiting import WAIT_S, wait_until

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(300)]
WORDS = 6
"""That the fake model writes, a step each."""


def client_of(balancer: Balancer) -> httpx.Client:
    return httpx.Client(base_url=balancer.url, trust_env=False, timeout=WAIT_S)


def await_line(replicas: Sequence[Replica], request_id: str) -> str:
    """The line that a replica logs of a request."""
    lines: list[str] = []

    def logged() -> bool:
        written = [line for each in replicas for line in each.log.read_text().splitlines()]
        lines[:] = [line for line in written if f"id={request_id} " in line]
        return bool(lines)

    wait_until(logged)
    return lines[0]


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


def test_a_request_id_is_kept(balancer: Balancer) -> None:
    with client_of(balancer) as client:
        assert client.get("/v1/models", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"


@pytest.mark.parametrize("given", [[], ["a b"], ["a,b"], ["first", "second"]])
def test_a_request_id_is_made_where_there_is_no_good_one(balancer: Balancer, given: list[str]) -> None:
    with client_of(balancer) as client:
        answer = client.get("/v1/models", headers=[("x-request-id", each) for each in given])
    [made] = answer.headers.get_list("x-request-id")
    assert made not in given[-1:], "of several, the service reads the first"
    assert not made.startswith("req-"), "the service made it, so the balancer's log has none"


def test_the_service_logs_the_clients_address_and_not_a_forged_one(balancer: Balancer, three: list[Replica]) -> None:
    name = f"address-{balancer.name}"
    with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.7"), base_url=balancer.url) as client:
        client.get("/v1/models", headers={"x-request-id": name, "x-forwarded-for": "203.0.113.9"})
    assert "client=127.0.0.7 " in await_line(three, name)


@pytest.mark.parametrize(
    "path",
    ["/metrics", "/%6detrics", "/metrics?a=b", "/metrics/", "//metrics", "/a/../metrics", "http://localhost/%6Detrics"],
)
def test_metrics_are_not_for_clients(balancer: Balancer, three: list[Replica], path: str) -> None:
    assert "blip_serve_" in httpx.get(f"{three[0].url}/metrics", trust_env=False).text
    request = f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    head, _, body = raw.exchange(balancer.url, request.encode()).partition(b"\r\n\r\n")
    assert raw.status(head) == 404
    assert json.loads(body)["error"]["code"] == "not_found"
    assert b"x-request-id: " in head.lower()


def test_a_client_that_leaves_cancels_its_request(balancer: Balancer, three: list[Replica]) -> None:
    def under_way() -> bool:
        pages = [httpx.get(f"{replica.url}/metrics", trust_env=False).text for replica in three]
        return any("\nblip_serve_queue_requests 1.0\n" in page for page in pages)

    name = f"leaves-{balancer.name}"
    images = [base64.b64encode(bytes([number])).decode() for number in range(64)]
    body = json.dumps(
        {"images": images, "captions": [f"{number}" for number in range(200)]}
    ).encode()  # for two seconds
    head = f"POST /v1/match HTTP/1.1\r\nhost: localhost\r\nx-request-id: {name}\r\ncontent-type: application/json\r\n"
    with raw.connect(balancer.url) as client:
        client.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        wait_until(under_way)
    assert " status=499 " in await_line(three, name)


@pytest.mark.parametrize("before", [nginx, haproxy])
def test_a_request_that_kills_its_replica_reaches_two_of_them(
    tmp_path: Path, before: Callable[[Path, Sequence[Backend]], AbstractContextManager[Balancer]]
) -> None:
    with mortals() as backends, before(tmp_path, backends) as balancer, client_of(balancer) as client:
        for _ in range(2 * len(backends)):  # each then has a connection that a balancer may have kept
            assert client.get("/").status_code == 200
        with suppress(httpx.RemoteProtocolError):  # HAProxy ends the client's connection too, where it was used before
            assert client.post("/").status_code == 503
    assert sum(backend.deaths for backend in backends) == 2


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
