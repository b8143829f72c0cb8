"""Rows 88 to 90: what a head says of the way a request came, and what a page in a browser may do."""

from collections.abc import Iterator, Mapping

import httpx
import pytest

from blip_serve.models.fake import FakeModel
from tests.support.command import blip_serve
from tests.support.errors import check
from tests.support.raw import exchange, status
from tests.support.server import Service, always, fake_settings, serving, with_key
from tests.threats.cases import GOOD, check_serves_on

LISTED = "https://pages.test"
KEY = {"authorization": "Bearer right"}


@pytest.fixture(scope="module")
def keyless() -> Iterator[Service]:
    """A service on loopback without keys; the pages of one origin may use it."""
    settings = fake_settings(server={"cors_origins": (LISTED,), "trusted_proxies": ("127.0.0.1",)})
    with serving(settings, always(FakeModel("match"))) as running:
        yield running


@pytest.fixture(scope="module")
def keyed() -> Iterator[Service]:
    """A service with a key."""
    with serving(fake_settings(auth=with_key("right")), always(FakeModel("match"))) as running:
        yield running


def head(first: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([first, *headers, b"connection: close", b"", b""])


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        pytest.param(head(b"GET /livez HTTP/1.1"), 400, id="row88-no host"),
        pytest.param(head(b"GET /livez HTTP/1.1", b"host: localhost", b"host: localhost"), 400, id="row88-two hosts"),
        pytest.param(
            head(b"GET /livez HTTP/1.1", b"host: localhost", b"Host: evil.test"), 400, id="row88-another host"
        ),
        pytest.param(head(b"GET /livez HTTP/1.0"), 200, id="row88-no host as HTTP 1.0 has it"),
    ],
)
def test_hosts(keyless: Service, request_: bytes, expected: int) -> None:
    answer = exchange(keyless.url, request_)
    assert status(answer) == expected
    if expected == 400:
        assert b'"code":"invalid_host","' in answer or b'"code":"invalid_host"}' in answer
        assert b"x-request-id" in answer


@pytest.mark.parametrize(
    ("method", "path", "encoding"),
    [
        pytest.param("POST", path, encoding, id=f"row88-{encoding} to {path}")
        for path in ("/v1/match", "/v1/chat/completions")
        for encoding in ("gzip", "br", "GZIP", "zstd, gzip")
    ],
)
def test_a_compressed_body_is_refused(keyless: Service, method: str, path: str, encoding: str) -> None:
    headers = {"content-encoding": encoding, "content-type": "application/json"}
    check(keyless.client.request(method, path, content=b"\x1f\x8b\x08", headers=headers), 415,
          "unsupported_content_type", "content-encoding")  # fmt: skip
    check_serves_on(keyless)


def test_row88_a_compressed_form_is_refused_and_identity_is_not(keyless: Service) -> None:
    form = {"files": {"image": b"hello"}, "data": {"caption": "a"}}
    refused = keyless.client.post("/v1/match", **form, headers={"content-encoding": "gzip"})  # type: ignore[arg-type]
    check(refused, 415, "unsupported_content_type", "content-encoding")
    assert keyless.client.post("/v1/match", **form, headers={"content-encoding": "identity"}).is_success  # type: ignore[arg-type]


GETS = ["/livez", "/readyz", "/health", "/version", "/v1/models", "/v1/models/fake", "/openapi.json", "/metrics"]


@pytest.mark.parametrize("path", [pytest.param(path, id=f"row88-{path}") for path in GETS])
def test_head_has_the_headers_of_the_get(keyless: Service, path: str) -> None:
    got, headed = keyless.client.get(path), keyless.client.head(path)
    assert (headed.status_code, headed.content) == (got.status_code, b"")
    own = {"x-request-id", "date", "server-timing"} | ({"content-length"} if path == "/metrics" else set())
    for name in got.headers.keys() - own:
        assert headed.headers[name] == got.headers[name]


def test_row88_head_is_logged_and_counted_as_such_under_its_route(keyless: Service) -> None:
    keyless.client.head("/v1/models/fake")
    assert keyless.metric("request_seconds_count", route="/v1/models/{name:path}", method="HEAD") >= 1
    assert keyless.client.head("/v1/match").status_code == 405
    assert keyless.client.head("/v1/nothing").status_code == 404


def origin_of(service: Service) -> str:
    return service.url


FOREIGN: Mapping[str, Mapping[str, str]] = {
    "another origin": {"origin": "https://evil.test"},
    "another port of this host": {"origin": "http://127.0.0.1:1"},
    "no origin at all": {"origin": "null"},
    "one that begins like ours": {"origin": f"{LISTED}.evil.test"},
    "one that ends like ours": {"origin": "https://evil-pages.test"},
    "another scheme than the listed": {"origin": "http://pages.test"},
    "an extension": {"origin": "chrome-extension://abcdefghijklmnop"},
    "a form of another site": {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
    "a form of the same site": {"sec-fetch-site": "same-site"},
    "a forged kind": {"origin": "https://evil.test", "sec-fetch-site": "same-origin"},
    "an empty origin": {"origin": ""},
}


@pytest.mark.parametrize("path", ["/v1/match", "/v1/models", "/nothing"])
@pytest.mark.parametrize("headers", [pytest.param(headers, id=f"row89-{name}") for name, headers in FOREIGN.items()])
def test_pages_of_other_origins_change_nothing(keyless: Service, headers: Mapping[str, str], path: str) -> None:
    check(keyless.client.post(path, json=GOOD, headers=headers), 403, "origin_not_allowed", "origin")
    check_serves_on(keyless)


SIMPLE: Mapping[str, dict[str, object]] = {
    "bodyless": {},
    "form": {"data": {"caption": "a"}},
    "multipart": {"data": {"caption": "a"}, "files": {"image": b"hello"}},
    "plain text": {"content": b'{"caption": "a"}', "headers": {"content-type": "text/plain"}},
}


@pytest.mark.parametrize("kind", [pytest.param(kind, id=f"row89-{kind}") for kind in SIMPLE])
def test_what_needs_no_preflight_is_refused_before_it_is_read(keyless: Service, kind: str) -> None:
    given = SIMPLE[kind]
    headers = {"origin": "https://evil.test"} | given.get("headers", {})  # type: ignore[operator]
    check(keyless.client.post("/v1/match", **given | {"headers": headers}), 403, "origin_not_allowed", "origin")  # type: ignore[arg-type]


def test_row89_with_keys_as_well_and_before_them(keyed: Service) -> None:
    evil = {"origin": "https://evil.test"}
    check(keyed.client.post("/v1/match", json=GOOD, headers=KEY | evil), 403, "origin_not_allowed", "origin")
    check(keyed.client.post("/v1/match", json=GOOD, headers=evil), 403, "origin_not_allowed", "origin")
    assert keyed.client.post("/v1/match", json=GOOD, headers=KEY | {"origin": keyed.url}).is_success


OWN: Mapping[str, Mapping[str, str]] = {
    "a listed page": {"origin": LISTED, "sec-fetch-site": "cross-site"},
    "no browser": {},
    "a page of ours without origin": {"sec-fetch-site": "same-origin"},
    "typed in": {"sec-fetch-site": "none"},
    "behind what ends TLS": {"host": "localhost:8443", "origin": "https://localhost:8443"},
    "behind what ends TLS on its port": {"host": "localhost", "origin": "https://localhost"},
    "on the port of http": {"host": "localhost:80", "origin": "http://localhost"},
    "behind what says so": {"host": "localhost", "origin": "https://localhost", "x-forwarded-proto": "https"},
}


@pytest.mark.parametrize("headers", [pytest.param(headers, id=f"row89-{name}") for name, headers in OWN.items()])
def test_our_own_pages_and_other_clients_may(keyless: Service, headers: Mapping[str, str]) -> None:
    assert keyless.client.post("/v1/match", json=GOOD, headers=headers).is_success


def test_row89_the_service_s_own_origin_is_ours(keyless: Service) -> None:
    assert keyless.client.post("/v1/match", json=GOOD, headers={"origin": keyless.url}).is_success


def test_row89_what_came_encrypted_is_not_that_of_a_page_that_did_not(keyless: Service) -> None:
    headers = {"host": "localhost", "origin": "http://localhost", "x-forwarded-proto": "https"}
    check(keyless.client.post("/v1/match", json=GOOD, headers=headers), 403, "origin_not_allowed", "origin")


def test_row89_reading_is_not_refused_and_not_shown(keyless: Service) -> None:
    answer = keyless.client.get("/v1/models", headers={"origin": "https://evil.test"})
    assert answer.is_success
    assert "access-control-allow-origin" not in answer.headers


HOSTS = ["evil.test", "evil.test:8000", "localhost.evil.test", "127.0.0.1.evil.test", "0.0.0.0", "192.168.0.2", "[::2]",
         "", "localhost:80:80", "local host", "notlocalhost"]  # fmt: skip


@pytest.mark.parametrize("host", [pytest.param(host, id=f"row90-{host}") for host in HOSTS])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_foreign_host_on_loopback_without_keys(keyless: Service, method: str, host: str) -> None:
    answer = keyless.client.request(method, "/v1/models", headers={"host": host})
    check(answer, 403, "host_not_allowed", "host")
    check_serves_on(keyless)


@pytest.mark.parametrize(
    "host",
    [
        pytest.param(host, id=f"row90-own {host}")
        for host in ("localhost", "LOCALHOST:8000", "blip.localhost", "127.0.0.1", "127.9.9.9:1", "[::1]:8000",
                     "pages.test")
    ],
)  # fmt: skip
def test_own_names_of_loopback_and_listed_hosts(keyless: Service, host: str) -> None:
    assert keyless.client.get("/v1/models", headers={"host": host}).is_success


def test_row90_with_keys_any_host_may_be_named(keyed: Service) -> None:
    assert keyed.client.get("/v1/models", headers=KEY | {"host": "blip.example.org"}).is_success


def test_row90_all_origins_without_keys_are_refused_at_the_start() -> None:
    done = blip_serve("serve", BLIP_SERVE_SERVER__CORS_ORIGINS='["*"]')
    assert done.returncode == 2
    assert "server.cors_origins" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    again = blip_serve("serve", "--no-auth", BLIP_SERVE_SERVER__CORS_ORIGINS='["https://a.test/path"]')
    assert again.returncode == 2
    assert "server.cors_origins.0" in again.stderr


def test_row90_all_origins_with_keys_may() -> None:
    settings = fake_settings(server={"cors_origins": ("*",)}, auth=with_key("right"))
    with serving(settings, always(FakeModel("match"))) as service:
        page = {"origin": "https://anything.test"}
        answer = service.client.post("/v1/match", json=GOOD, headers=KEY | page)
        assert answer.is_success
        assert answer.headers["access-control-allow-origin"] == "*"
        refused: httpx.Response = service.client.post("/v1/match", json=GOOD, headers=page)
        check(refused, 401, "invalid_api_key", None)
        assert refused.headers["access-control-allow-origin"] == "*"


def test_row90_a_listed_host_does_not_make_another_scheme_ours(keyless: Service) -> None:
    """A page of http://pages.test, whose name was made to lead here, is none of https://pages.test."""
    host = LISTED.partition("://")[2]
    for origin, expected in ((LISTED, 200), (f"http://{host}", 403), (f"{LISTED}:8443", 403)):
        answer = keyless.client.post("/v1/match", json=GOOD, headers={"host": host, "origin": origin})
        assert answer.status_code == expected, origin
