"""Rows 20 to 34: images by URL, of hosts that must not be reached and of servers that misbehave."""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from tests.images.origin import Answer, endless, respond, send, silence
from tests.support.errors import check
from tests.support.pictures import encoded, picture
from tests.threats.cases import GOOD, Case, cases, check_case, check_serves_on
from tests.threats.web import HANGS, HOME, MAX_BYTES, Web, world_wide

PNG = encoded(picture(1))
HTML = b"<html>the secret of this page"
TIMEOUT_S = 0.5


def moved(to: str) -> Answer:
    return respond(b"", "302 Found", location=to)


async def slow_moved(writer: asyncio.StreamWriter) -> None:
    """Each hop takes half of the time there is."""
    await asyncio.sleep(TIMEOUT_S / 2)
    await moved("/slow-hops")(writer)


ANSWERS: dict[str, Answer] = {
    "/": respond(PNG),
    "/picture": respond(PNG, content_type="image/png"),
    "/picture?a%20b": respond(PNG),
    "/chunked": send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(PNG), PNG)),
    "/one-hop": moved("/picture"),
    "/two-hops": moved("/one-hop"),
    "/three-hops": moved("/two-hops"),
    "/four-hops": moved("/three-hops"),
    "/loop": moved("/loop"),
    "/silence": silence,
    "/dripped-head": endless(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n", 0.05),
    "/dripped-body": endless(b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n", b".", 0.05),
    "/slow-hops": slow_moved,
    "/endless": endless(b"HTTP/1.1 200 OK\r\n\r\n", bytes(10_000), 0),
    "/endless-chunks": endless(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"2710\r\n" + bytes(10_000) + b"\r\n", 0
    ),
    "/false-length": respond(b"", content_length=str(10**12)),
    "/a-byte-too-many": respond(bytes(MAX_BYTES + 1)),
    "/short": respond(PNG, content_length=str(len(PNG) + 1)),
    "/gzip": respond(PNG, content_encoding="gzip"),
    "/br": respond(PNG, content_encoding="br"),
    "/transfer-gzip": respond(PNG, transfer_encoding="gzip"),
    "/404": respond(HTML, "404 Not Found"),
    "/500": respond(HTML, "500 Internal Server Error"),
    "/429": respond(HTML, "429 Too Many Requests", retry_after="1"),
    "/html": respond(HTML, content_type="text/html; charset=utf-8"),
    "/partial": respond(PNG, "206 Partial Content"),
    "/no-http": send(HTML + b"\r\n\r\n"),
    "/nothing": send(b""),
}
PRIVATE = {
    "intranet.test": "10.0.0.1",
    "docker.test": "172.17.0.1",
    "router.test": "192.168.0.1",
    "cgnat.test": "100.64.0.1",
    "here.test": "127.0.0.1",
    "here6.test": "::1",
    "nothing.test": "0.0.0.0",
    "link.test": "169.254.1.1",
    "link6.test": "fe80::1",
    "local.test": "fd12::1",
    "many.test": "224.0.0.1",
    "metadata.test": "169.254.169.254",
}


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    with world_wide(ANSWERS, {}) as web:
        web.names |= {name: [[address]] for name, address in PRIVATE.items()}
        web.names |= {"mixed.test": [["93.184.216.34", "10.0.0.1"]], "other.test": [[HOME]]}
        web.names["public.test"] = [["93.184.216.34"]]
        yield web


@pytest.fixture(scope="module")
def hurried() -> Iterator[Web]:
    with world_wide(ANSWERS, {HANGS: []}, timeout_s=TIMEOUT_S) as web:
        yield web


def url(row: int, name: str, text: str, code: str | None, param: str = "image") -> Case:
    return Case(row, name, GOOD | {"image": text}, code, param)


def blocked(row: int, *hosts: str) -> list[Case]:
    """Cases of hosts, over both schemes and at a port where the rule for ports does not help."""
    return [
        Case(row, f"{host} {scheme}", GOOD | {"image": f"{scheme}://{host}{port}/"}, "blocked_url")
        for host in hosts
        for scheme, port in (("http", ""), ("https", ""), ("http", ":{forbidden}"))
    ]


NEVER_DIALLED = [
    url(20, "file", "file:///etc/passwd", "unsupported_url_scheme"),
    url(20, "ftp", "ftp://pictures.test/a.png", "unsupported_url_scheme"),
    url(20, "gopher", "gopher://pictures.test/_", "unsupported_url_scheme"),
    url(20, "data of HTML", "data:text/html,<p>", "unsupported_url_scheme"),
    url(20, "javascript", "javascript:alert(1)", "unsupported_url_scheme"),
    Case(20, "in an object", GOOD | {"image": {"url": "file:///etc/passwd"}}, "unsupported_url_scheme", "image.url"),
    *blocked(21, "169.254.169.254", "168.63.129.16", "[fd00:ec2::254]", "metadata.test", "100.100.100.200"),
    *blocked(22, "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "100.64.0.1", "169.254.1.1", "224.0.0.1",
             "0.0.0.0", "255.255.255.255", "192.0.0.8", "198.18.0.1", "[::1]", "[::]", "[fe80::1]", "[fd12::1]",
             "[ff02::1]", *PRIVATE),
    *blocked(23, "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0x7f.1", "017700000001", "0"),
    *blocked(24, "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b::7f00:1]",
             "[::169.254.169.254]", "[::127.0.0.1]", "[2002:7f00:1::1]", "[2002:a9fe:a9fe::]",
             "[2001:0:4136:e378:8000:63bf:80ff:fffe]", "[fe80::5efe:7f00:1]", "[64:ff9b:1::a9fe:a9fe]"),
    *blocked(25, "127.0.0.1.", "pictures.test.", "127。0。0。1", "\uff11\uff12\uff17.0.0.1"),
    url(25, "user", "http://user:pass@pictures.test/", "invalid_url"),
    url(25, "empty user", "http://@pictures.test/", "invalid_url"),
    url(25, "user that is a host", "http://pictures.test@127.0.0.1:{forbidden}/", "invalid_url"),
    url(25, "backslash", "http://pictures.test\\@127.0.0.1:{forbidden}/", "invalid_url"),
    url(25, "backslashes", "http:\\\\pictures.test/", "invalid_url"),
    url(25, "tab", "http://pictures\t.test/", "invalid_url"),
    url(25, "newline", "http://pictures.test/\na", "invalid_url"),
    url(25, "header", "http://pictures.test/ HTTP/1.1\r\nX: y", "invalid_url"),
    url(25, "blank in the host", "http://127.0.0.1 :{forbidden}/", "invalid_url"),
    url(25, "blanks around", " http://127.0.0.1:{forbidden}/\n", "blocked_url"),
    url(25, "NUL", "http://pictures.test/\0", "invalid_url"),
    url(25, "zone", "http://[fe80::1%25lo]:{forbidden}/", "blocked_url"),
    url(25, "percent", "http://127%2e0%2e0%2e1:{forbidden}/", "invalid_url"),
    *(url(26, port, f"http://public.test:{port}/", "blocked_url")
      for port in ("22", "25", "81", "6379", "8080", "0", "65536")),
    url(29, "mixed answers", "http://mixed.test/", "blocked_url"),
]  # fmt: skip


@cases(*NEVER_DIALLED)
def test_not_one_packet_leaves(web: Web, case: Case) -> None:
    web.reset()
    body = json.dumps(case.body).replace("{forbidden}", str(web.forbidden.port))
    check_case(web.service, replace(case, body=body.encode()))
    assert web.dialled == []
    assert web.forbidden.connections == 0


def refused(web: Web, url: str, code: str) -> None:
    """An image by `url` is refused, without a word of the origin's; the service answers a good request.

    With a 400 in any case: an origin's 429 or time-out shall neither raise our 5xx nor make a client try again.
    """
    response = web.service.client.post("/v1/match", json=GOOD | {"image": {"url": url}})
    check(response, 400, code, "image.url")
    assert "retry-after" not in response.headers
    assert "secret" not in response.text
    check_serves_on(web.service)


def answered(web: Web, url: str) -> None:
    response = web.service.client.post("/v1/match", json=GOOD | {"image": url})
    assert response.status_code == 200, response.text


FORBIDDEN_HOPS = {
    "the listener": "http://127.0.0.1:{forbidden}/",
    "the listener's number": "http://2130706433:{forbidden}/",
    "the listener in IPv6": "http://[::ffff:127.0.0.1]:{forbidden}/",
    "the listener by name": "http://here.test:{forbidden}/",
    "no scheme": "//127.0.0.1:{forbidden}/",
    "TLS": "https://127.0.0.1:{forbidden}/",
    "metadata": "http://169.254.169.254/latest/meta-data/",
    "a private name": "http://intranet.test/",
    "another port": "http://pictures.test:{forbidden}/",
    "a public host's other port": "http://public.test:22/",
}


@pytest.mark.parametrize("target", [pytest.param(hop, id=f"row27-{name}") for name, hop in FORBIDDEN_HOPS.items()])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_what_is_forbidden(web: Web, target: str, status: int) -> None:
    web.reset()
    location = target.replace("{forbidden}", str(web.forbidden.port))
    web.answers["/forbidden-hop"] = respond(b"", f"{status} Moved", location=location)
    refused(web, web.url("/forbidden-hop"), "blocked_url")
    assert web.dialled == [(HOME, web.origin.port)]
    assert web.forbidden.connections == 0


@pytest.mark.parametrize(
    ("target", "code"),
    [
        pytest.param("file:///etc/passwd", "unsupported_url_scheme", id="row27-file"),
        pytest.param("gopher://pictures.test/", "unsupported_url_scheme", id="row27-gopher"),
        pytest.param("data:image/png;base64,QQ==", "unsupported_url_scheme", id="row27-data"),
        pytest.param("http://a@pictures.test/", "invalid_url", id="row27-user"),
        pytest.param("http://pictures.test\\@127.0.0.1/", "invalid_url", id="row27-backslash"),
    ],
)
def test_a_redirect_to_what_is_no_picture_s_url(web: Web, target: str, code: str) -> None:
    web.answers["/strange-hop"] = moved(target)
    refused(web, web.url("/strange-hop"), code)


@pytest.mark.parametrize(
    ("path", "hops"),
    [
        pytest.param("/picture", 0, id="row28-none"),
        pytest.param("/three-hops", 3, id="row28-three"),
        pytest.param("/four-hops", None, id="row28-four"),
        pytest.param("/loop", None, id="row28-loop"),
    ],
)
def test_redirects_are_followed_three_times(web: Web, path: str, hops: int | None) -> None:
    web.reset()
    if hops is None:
        refused(web, web.url(path), "too_many_redirects")
        assert web.origin.connections == 4
    else:
        answered(web, web.url(path))
        assert web.origin.connections == hops + 1


@pytest.mark.parametrize(
    "later", [pytest.param([address], id=f"row29-{address}") for address in ("169.254.169.254", "0.0.0.0", "fe80::1")]
)
def test_the_address_that_was_checked_is_dialled(later: Sequence[str]) -> None:
    """The name leads elsewhere at its second look-up: one fetch looks it up once, and the next is refused."""
    with world_wide(ANSWERS, {"rebinding.test": [[HOME], later]}) as web:
        answered(web, web.url("/picture", "rebinding.test"))
        assert (web.asked, web.dialled) == (["rebinding.test"], [(HOME, web.origin.port)])
        refused(web, web.url("/picture", "rebinding.test"), "blocked_url")
        assert len(web.dialled) == 1
        assert "host: rebinding.test" in web.origin.heads[0].lower()


@pytest.mark.parametrize("path", [pytest.param("/one-hop", id="row29-between hops")])
def test_each_hop_is_looked_up_and_checked_anew(path: str) -> None:
    with world_wide(ANSWERS, {"rebinding.test": [[HOME], ["169.254.169.254"]]}) as web:
        refused(web, web.url(path, "rebinding.test"), "blocked_url")
        assert web.dialled == [(HOME, web.origin.port)]


@pytest.mark.parametrize(
    "at",
    [
        pytest.param("http://hangs.test:{port}/", id="row30-DNS that hangs"),
        *(pytest.param("http://pictures.test:{port}" + path, id=f"row30-{path}")
          for path in ("/silence", "/dripped-head", "/dripped-body", "/slow-hops")),
    ],
)  # fmt: skip
def test_one_deadline_for_the_whole_fetch(hurried: Web, at: str) -> None:
    began = time.monotonic()
    refused(hurried, at.replace("{port}", str(hurried.origin.port)), "image_fetch_timeout")
    assert time.monotonic() - began < 10 * TIMEOUT_S


@pytest.mark.parametrize(
    ("path", "code"),
    [
        *(pytest.param(path, "image_too_large", id=f"row31-{path}")
          for path in ("/endless", "/endless-chunks", "/false-length", "/a-byte-too-many")),
        pytest.param("/short", "image_fetch_failed", id="row31-/short"),
        *(pytest.param(path, "image_fetch_failed", id=f"row32-{path}") for path in ("/gzip", "/br", "/transfer-gzip")),
        *(pytest.param(path, "image_fetch_failed", id=f"row33-{path}")
          for path in ("/404", "/500", "/429", "/html", "/partial", "/no-http", "/nothing")),
    ],
)  # fmt: skip
def test_servers_that_misbehave(web: Web, path: str, code: str) -> None:
    refused(web, web.url(path), code)


@pytest.mark.parametrize(
    ("around", "asked"),
    [
        pytest.param("{}\n", "/picture", id="row25-newline at the end"),
        pytest.param(" \t{} \r\n", "/picture", id="row25-blanks around"),
        pytest.param("{}?a b", "/picture?a%20b", id="row25-blank within"),
        pytest.param("{}#a b\n", "/picture", id="row25-blank in what is not sent"),
    ],
)
def test_a_url_as_it_comes_with_a_line_of_a_file(web: Web, around: str, asked: str) -> None:
    web.reset()
    answered(web, around.format(web.url("/picture")))
    assert web.origin.heads[0].startswith(f"GET {asked} HTTP/1.1")


@pytest.mark.parametrize("path", [pytest.param(path, id=f"row32-{path}") for path in ("/picture", "/chunked")])
def test_identity_is_asked_for(web: Web, path: str) -> None:
    web.reset()
    answered(web, web.url(path))
    assert "accept-encoding: identity\r\n" in web.origin.heads[0].lower()


@pytest.mark.parametrize(
    ("host", "code"),
    [
        pytest.param("pictures.test", None, id="row34-fits"),
        pytest.param("other.test", "image_fetch_failed", id="row34-another name"),
        pytest.param(HOME, "image_fetch_failed", id="row34-an address"),
    ],
)
def test_certificates(host: str, code: str | None) -> None:
    with world_wide(ANSWERS, {"other.test": [[HOME]], HOME: [[HOME]]}) as web:
        url = f"https://{host}:{web.secure.port}/picture"
        if code is None:
            answered(web, url)
        else:
            refused(web, url, code)
            assert web.secure.heads == []


@pytest.mark.parametrize(
    ("lists", "allowed"),
    [
        pytest.param({"allowed_hosts": ["cdn.test"]}, True, id="row22-exempt beside a list"),
        pytest.param({"private_hosts": []}, False, id="row22-not exempt"),
        pytest.param({"private_hosts": ["pictures.test"]}, False, id="row26-exempt with the web's ports only"),
        pytest.param({"denied_hosts": ["*.test"]}, False, id="row22-denied by name"),
        pytest.param({"denied_hosts": ["127.0.0.0/8"]}, False, id="row22-denied by network"),
    ],
)
def test_a_private_host_is_reached_by_an_exemption_only(lists: dict[str, object], allowed: bool) -> None:
    with world_wide(ANSWERS, {}, **lists) as web:
        if allowed:
            answered(web, web.url("/picture"))
        else:
            refused(web, web.url("/picture"), "blocked_url")
            assert web.dialled == []
