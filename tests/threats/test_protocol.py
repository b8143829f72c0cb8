"""HTTP itself, within bounds: heads, deadlines, connections, and answers that come before a request's end."""

import json
import threading
from collections.abc import Iterator

import pytest
from fastapi import Request, Response

from blip_serve.api import protocol
from blip_serve.models.fake import FakeModel
from tests.support.raw import connect, exchange, read_to_end, status
from tests.support.server import Service, always, fake_settings, serving, with_key
from tests.support.waiting import wait_until

GET = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n"
LAST = b"connection: close\r\n\r\n"
MATCH = b"POST /v1/match HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
CHUNKED = MATCH + b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
BODY = json.dumps({"image": "aGVsbG8=", "caption": "a" * 4000}).encode()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving(fake_settings(server={"max_body_bytes": 100_000}), always(FakeModel())) as running:
        yield running


@pytest.fixture(scope="module")
def impatient() -> Iterator[Service]:
    """A service with short deadlines."""
    server = {"receive_timeout_s": 0.2, "send_timeout_s": 0.2}
    with serving(fake_settings(server=server), always(FakeModel())) as running:
        yield running


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(data), extension, data)


def refused(service: Service, reason: str) -> float:
    return service.metric("refused_connections_total", reason=reason)


HEADS = {
    "5,000 headers": GET + b"".join(b"h%d: x\r\n" % i for i in range(5000)) + b"\r\n",
    "101 headers": GET + b"h: x\r\n" * 100 + b"\r\n",
    "a header of 1 MB": GET + b"h: " + b"x" * 1_000_000 + b"\r\n\r\n",
    "a header that does not end": GET + b"h: " + b"x" * 500_000,
    "a name that does not end": GET + b"h" * 500_000,
    "a path of 100 KB": b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "many headers of middling size": GET + (b"h: " + b"x" * 1000 + b"\r\n") * 70 + b"\r\n",
    "an extension of 1 MB": CHUNKED + chunk(BODY, b";e=" + b"x" * 1_000_000) + b"0\r\n\r\n",
    "trailers of 1 MB": CHUNKED + chunk(BODY) + b"0\r\n" + b"t: x\r\n" * 160_000 + b"\r\n",
    "a trailer that does not end": CHUNKED + chunk(BODY) + b"0\r\nt: " + b"x" * 500_000,
    "chunks of a byte": CHUNKED + chunk(b" ") * 50_000 + chunk(BODY) + b"0\r\n\r\n",
}


@pytest.mark.parametrize("request_", HEADS.values(), ids=HEADS)
def test_row18_a_head_over_the_bounds_is_answered_431_and_closed(service: Service, request_: bytes) -> None:
    before = refused(service, "head_too_large")
    answer = exchange(service.url, request_)
    assert status(answer) == 431
    assert b"connection: close" in answer
    assert answer.count(b"HTTP/1.1") == 1
    assert refused(service, "head_too_large") == before + 1
    assert service.client.post("/v1/match", content=BODY, headers={"content-type": "application/json"}).is_success


WELL_FORMED = {
    "100 headers": GET + b"h: x\r\n" * 98 + LAST,
    "60 KB of headers": GET + (b"h: " + b"x" * 1000 + b"\r\n") * 60 + LAST,
    "chunks": CHUNKED + b"".join(chunk(BODY[i : i + 64]) for i in range(0, len(BODY), 64)) + b"0\r\n\r\n",
    "chunks with extensions and trailers": CHUNKED + chunk(BODY, b";name=value") + b"0\r\ntrailer: x\r\n\r\n",
    "an upgrade that is not made": GET + b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\n\r\n",
    "a websocket": GET + b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "empty lines before": b"\r\n\r\n" + GET + LAST,
}  # fmt: skip


@pytest.mark.parametrize("request_", WELL_FORMED.values(), ids=WELL_FORMED)
def test_row18_what_is_within_the_bounds_is_answered(service: Service, request_: bytes) -> None:
    answer = exchange(service.url, request_)
    assert status(answer) == 200
    assert b"connection: close" in answer


@pytest.mark.parametrize(
    "request_", [b"nonsense\r\n\r\n", b"GET /\x00 HTTP/1.1\r\n\r\n", GET + b"content-length: -1\r\n\r\n",
                 MATCH + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
                 b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
)  # fmt: skip
def test_what_is_no_http_is_answered_400(service: Service, request_: bytes) -> None:
    assert status(exchange(service.url, request_)) == 400
    assert service.client.get("/livez").is_success


def test_a_trailer_is_no_header() -> None:
    with serving(fake_settings(auth=with_key("right")), always(FakeModel())) as service:
        ended = b"0\r\nauthorization: Bearer right\r\n\r\n"
        assert status(exchange(service.url, CHUNKED + chunk(BODY) + ended)) == 401


SLOW = {
    "head": [GET],
    "header": [GET + b"h: "],
    "body": [MATCH + b"content-length: 10\r\n\r\n{"],
    "chunk": [CHUNKED + b"5\r\nab"],
    "second head": [GET + b"\r\n", GET],
}


@pytest.mark.parametrize("pieces", SLOW.values(), ids=SLOW)
def test_row19_a_request_that_does_not_end_is_answered_408_and_the_connection_closed(
    impatient: Service, pieces: list[bytes]
) -> None:
    with connect(impatient.url) as client:
        for piece in pieces[:-1]:
            client.sendall(piece)
            assert b"200" in client.recv(65536)
        client.sendall(pieces[-1])
        answer = read_to_end(client)
    assert status(answer) == 408
    assert b"connection: close" in answer


@pytest.mark.parametrize("before", [b"", GET + b"\r\n"])
def test_row19_dripping_does_not_move_the_deadline(impatient: Service, before: bytes) -> None:
    """Bytes come more often than the deadline, before a first request and after it."""
    ended = threading.Event()
    with connect(impatient.url) as client:
        client.sendall(before)

        def drip() -> None:
            while not ended.wait(0.02):
                try:
                    client.sendall(b"\r\n")
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        answer = read_to_end(client)
        ended.set()
        dripping.join()
    assert answer.endswith(b"The request took too long to arrive.")


def test_a_connection_that_says_nothing_is_closed_without_an_answer(impatient: Service) -> None:
    assert exchange(impatient.url) == b""


def test_a_slow_answer_is_no_slow_request(impatient: Service) -> None:
    """The deadline ends with the request: an answer may take longer."""
    release = threading.Event()

    def slow(request: Request) -> Response:
        release.wait(0.5)
        return Response("done")

    impatient.app.add_route("/slow", slow)
    assert impatient.client.get("/slow").text == "done"


def test_a_client_that_does_not_read_its_answer_is_cut_off(impatient: Service) -> None:
    async def large(request: Request) -> Response:
        return Response(bytes(64 * 1024 * 1024))

    impatient.app.add_route("/large", large)
    with connect(impatient.url) as client:
        client.sendall(b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n")
        wait_until(lambda: refused(impatient, "send_timeout") == 1)
        assert len(read_to_end(client)) < 64 * 1024 * 1024
    assert len(impatient.client.get("/large").content) == 64 * 1024 * 1024


def test_connections_are_bounded_and_their_room_comes_back() -> None:
    with serving(fake_settings(server={"max_connections": 4}), always(FakeModel())) as service:
        held = [connect(service.url) for _ in range(3)]  # and the test's own
        answer = exchange(service.url)
        assert status(answer) == 503
        assert b"retry-after: 1" in answer
        assert service.client.get("/livez").is_success
        held.pop().close()
        wait_until(lambda: status(exchange(service.url, GET + LAST)) == 200)
        for client in held:
            client.close()


def test_a_request_sent_early_is_not_queued(service: Service) -> None:
    answer = exchange(service.url, (GET + b"\r\n") * 10_000)
    assert answer.count(b"HTTP/1.1 200") == 1
    assert answer.count(b"HTTP/1.1") == 1
    assert b"connection: close" in answer


def test_a_client_that_leaves_after_sending_early_frees_its_place() -> None:
    model = FakeModel()
    with serving(fake_settings(), always(model)) as service:
        model.open.clear()
        with connect(service.url) as client:
            client.sendall(MATCH + b"content-length: %d\r\n\r\n" % len(BODY) + BODY + GET)
            wait_until(lambda: service.metric("queue_requests") == 1)
        wait_until(lambda: service.metric("queue_requests") == 0)
        model.open.set()


def endless(service: Service, head: bytes, pieces: int = 1000) -> tuple[bytes, int]:
    """The answer to a body that does not end, and how many of its megabytes were taken."""
    piece = chunk(b" " * 1_000_000)
    with connect(service.url) as client:
        taken = 0
        try:
            client.sendall(head)
            for taken in range(pieces):  # noqa: B007
                client.sendall(piece)
        except ConnectionError:
            pass
        return read_to_end(client), taken


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (CHUNKED, 413),
        (MATCH + b"content-length: 999999999\r\n\r\n", 413),
        (MATCH.replace(b"/v1/match", b"/nothing") + b"transfer-encoding: chunked\r\n\r\n", 404),
        (MATCH.replace(b"application/json", b"text/plain") + b"transfer-encoding: chunked\r\n\r\n", 415),
    ],
)
def test_row17_an_answer_before_a_body_ends_closes_the_connection(
    service: Service, head: bytes, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "LINGER_S", 0.3)
    answer, taken = endless(service, head)
    assert status(answer) == expected
    assert b"connection: close" in answer
    assert answer.count(b"HTTP/1.1") == 1
    assert taken < 100


def test_row17_a_body_over_the_limit_is_refused_before_it_is_asked_for(service: Service) -> None:
    head = MATCH + b"content-length: 999999999\r\nexpect: 100-continue\r\n\r\n"
    answer = exchange(service.url, head)
    assert status(answer) == 413
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "request_too_large"


def test_row19_a_good_client_beside_200_slow_ones_sees_no_failure_and_they_are_cut_off() -> None:
    with serving(fake_settings(server={"receive_timeout_s": 1}), always(FakeModel())) as service:
        slow = [connect(service.url) for _ in range(200)]
        for i, client in enumerate(slow):
            client.sendall(GET if i % 2 else MATCH + b"content-length: 1000\r\n\r\n{")
        for _ in range(50):
            assert service.client.post("/v1/match", json={"image": "aGVsbG8=", "caption": "a"}).is_success
        for client in slow:
            assert status(read_to_end(client)) == 408
            client.close()


def test_an_upgrade_is_not_asked_for_with_a_body(service: Service) -> None:
    head = MATCH + b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\n"
    answer = exchange(service.url, head + b"content-length: %d\r\n\r\n" % len(BODY) + BODY)
    assert status(answer) == 400
    assert b"without the header Upgrade" in answer
    bare = exchange(service.url, GET.replace(b"\r\n", b"\r\nconnection: upgrade\r\nupgrade: h2c\r\n", 1) + b"\r\n")
    assert status(bare) == 200


def test_a_body_that_breaks_off_before_it_was_asked_for_is_no_fault_of_ours(
    service: Service, capfd: pytest.CaptureFixture[str]
) -> None:
    head = MATCH + b"transfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n"
    assert status(exchange(service.url, head + b"ZZ\r\n")) == 400
    assert "request_failed" not in capfd.readouterr().err
