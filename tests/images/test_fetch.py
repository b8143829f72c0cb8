import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from blip_serve.errors import ImageHostBusy, InvalidInput
from blip_serve.images.addresses import Address, is_public
from blip_serve.images.fetch import Fetcher
from blip_serve.settings import FetchSettings

from .origin import Answer, Origin, endless, respond, send, serving, silence
from .refusals import refused

CERTIFICATE = Path(__file__).parent / "pictures.test.pem"  # made for these tests; names pictures.test, trusted nowhere
TRUSTED = ssl.create_default_context(cafile=CERTIFICATE)
PARAM = "images[1]"
LIMIT = 100_000
HOME = "127.0.0.1"


class Names:
    """A resolver whose answers change from look-up to look-up; the last one stays."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def only_home(address: Address) -> bool:
    """The rule of a test: the loopback server stands for the public internet."""
    return address == ip_address(HOME)


@asynccontextmanager
async def fetching(
    answers: dict[str, Answer],
    settings: FetchSettings | None = None,
    names: Callable[[str], object] | None = None,
    certificate: bool = False,
    max_bytes: int = LIMIT,
) -> AsyncIterator[tuple[Fetcher, Origin]]:
    """A server with `answers`, and a fetcher that takes it for the public internet."""
    async with serving(answers, _server_tls() if certificate else None) as origin:
        fetcher = Fetcher(
            settings or FetchSettings(),
            max_bytes,
            allow=only_home,
            ports=frozenset({origin.port}),
            resolve=names or Names([HOME]),  # type: ignore[arg-type]
            tls=TRUSTED,
        )
        try:
            yield fetcher, origin
        finally:
            await fetcher.aclose()


def _server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def fetch_one(answer: Answer, **options: object) -> bytes:
    """Fetches `/image` from a server that sends `answer`."""

    async def run() -> bytes:
        async with fetching({"/image": answer}, **options) as (fetcher, origin):  # type: ignore[arg-type]
            return await fetcher.fetch(f"http://pictures.test:{origin.port}/image", PARAM)

    return asyncio.run(run())


def test_the_body_comes_back_and_the_request_gives_nothing_away() -> None:
    async def run() -> tuple[bytes, Origin]:
        async with fetching({"/image?size=2": respond(b"pixels")}) as (fetcher, origin):
            return await fetcher.fetch(f"http://pictures.test:{origin.port}/image?size=2#top", PARAM), origin

    body, origin = asyncio.run(run())
    assert body == b"pixels"
    request, *lines = origin.heads[0].strip().lower().split("\r\n")
    assert request == "get /image?size=2 http/1.1"
    assert sorted(lines) == [
        "accept-encoding: identity",
        "accept: image/*",
        "connection: close",
        f"host: pictures.test:{origin.port}",
        "user-agent: blip-serve",
    ]


def test_the_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetch_one(respond(b"pixels")) == b"pixels"


def test_cookies_are_not_kept() -> None:
    async def run() -> Origin:
        async with fetching({"/image": respond(b"pixels", set_cookie="id=1")}) as (fetcher, origin):
            for _ in range(2):
                await fetcher.fetch(f"http://pictures.test:{origin.port}/image", PARAM)
            return origin

    assert not [head for head in asyncio.run(run()).heads if "cookie" in head.lower()]


@pytest.mark.parametrize(
    "answer",
    [
        respond(b"pixels", content_encoding="identity"),
        respond(b"pixels", content_type="application/octet-stream"),
        send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\npix\r\n3\r\nels\r\n0\r\n\r\n"),
        send(b"HTTP/1.1 200 OK\r\n\r\npixels"),
        send(b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\npixels, and more than promised"),
    ],
)
def test_ordinary_answers_are_read(answer: Answer) -> None:
    assert fetch_one(answer) == b"pixels"


@pytest.mark.parametrize(
    "answer",
    [
        respond(b"the secret of this page", "404 Not Found"),
        respond(b"the secret of this page", "500 Internal Server Error"),
        respond(b"", "204 No Content"),
        respond(b"part", "206 Partial Content"),
        respond(b"<html>the secret of this page", content_type="text/html; charset=utf-8"),
        respond(b"squeezed", content_encoding="gzip"),
        respond(b"squeezed", content_encoding="br"),
        respond(b"squeezed", transfer_encoding="gzip"),
        respond(b"", "302 Found"),
        respond(b"", "302 Found", location="http://[secret/"),
        respond(b"too short", content_length="50"),
        respond(b"x", content_length="secret"),
        send(b"the secret of this page\r\n\r\n"),
        send(b""),
        send(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 50_000),
        send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsecret\r\n"),
    ],
)
def test_answers_that_are_no_image_fail_without_an_echo(answer: Answer) -> None:
    with refused("image_fetch_failed"):
        fetch_one(answer)


@pytest.mark.parametrize(
    "answer",
    [
        respond(bytes(LIMIT + 1)),
        respond(b"", content_length=str(10**12)),
        endless(b"HTTP/1.1 200 OK\r\n\r\n", bytes(10_000), 0),
        endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"2710\r\n" + bytes(10_000) + b"\r\n", 0),
    ],
)
def test_bodies_over_the_limit_are_left_unread(answer: Answer) -> None:
    with refused("image_too_large"):
        fetch_one(answer)


@pytest.mark.parametrize(
    "answer",
    [
        endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n.\r\n" * 1000, 0),
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, 0),
        endless(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 1000, 0),
    ],
)
def test_answers_made_to_be_parsed_for_ever_are_cut_off(answer: Answer) -> None:
    with refused("image_fetch_failed"):
        fetch_one(answer, settings=FetchSettings(timeout_s=30))


def test_a_body_in_many_pieces_of_a_fair_size_is_taken() -> None:
    chunks = b"".join(b"190\r\n" + bytes(400) + b"\r\n" for _ in range(2000)) + b"0\r\n\r\n"
    answer = send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
    assert fetch_one(answer, max_bytes=800_000) == bytes(800_000)


def test_a_long_head_is_read() -> None:
    assert fetch_one(respond(b"pixels", x_policy="y" * 30_000)) == b"pixels"


def test_a_body_of_exactly_the_limit_is_taken() -> None:
    assert fetch_one(respond(bytes(LIMIT))) == bytes(LIMIT)


@pytest.mark.parametrize(
    "answer",
    [
        silence,
        endless(b"HTTP/1.1 200 OK\r\n\r\n", b".", 0.02),
        endless(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n", 0.02),
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02),
    ],
)
def test_slow_servers_meet_the_one_deadline(answer: Answer) -> None:
    """Their answers never end by themselves: without the deadline the test would time out."""
    with refused("image_fetch_timeout"):
        fetch_one(answer, settings=FetchSettings(timeout_s=0.2))


def test_a_look_up_that_hangs_meets_the_deadline() -> None:
    async def hang(host: str) -> Sequence[str]:
        await asyncio.sleep(60)
        return [HOME]

    with refused("image_fetch_timeout"):
        fetch_one(respond(b"pixels"), settings=FetchSettings(timeout_s=0.1), names=hang)


def test_slow_redirects_share_the_deadline() -> None:
    async def slowly(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.15)
        await respond(b"", "302 Found", location="/image")(writer)

    with refused("image_fetch_timeout"):
        fetch_one(slowly, settings=FetchSettings(timeout_s=0.3, max_redirects=10))


def test_no_more_than_the_set_number_are_fetched_at_once() -> None:
    async def run() -> None:
        release = asyncio.Event()

        async def when_released(writer: asyncio.StreamWriter) -> None:
            await release.wait()
            await respond(b"pixels")(writer)

        async with fetching({"/image": when_released}, FetchSettings(max_concurrent=2)) as (fetcher, origin):
            url = f"http://pictures.test:{origin.port}/image"
            fetches = [asyncio.ensure_future(fetcher.fetch(url, PARAM)) for _ in range(5)]
            await asyncio.sleep(0.1)
            assert len(origin.heads) == 2
            release.set()
            assert await asyncio.gather(*fetches) == [b"pixels"] * 5

    asyncio.run(run())


def test_waiting_for_a_slot_is_not_held_against_the_server() -> None:
    async def wait(fetcher: Fetcher, url: str) -> None:
        with refused("image_fetch_timeout"):
            await fetcher.fetch(url, PARAM)

    async def run() -> None:
        answers = {"/silent": silence, "/image": respond(b"pixels")}
        async with fetching(answers, FetchSettings(timeout_s=0.3, max_concurrent=1)) as (fetcher, origin):
            at = f"http://pictures.test:{origin.port}"
            silent = [asyncio.ensure_future(wait(fetcher, f"{at}/silent")) for _ in range(3)]
            await asyncio.sleep(0)
            assert await fetcher.fetch(f"{at}/image", PARAM) == b"pixels"
            await asyncio.gather(*silent)

    asyncio.run(run())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(status: int) -> None:
    async def run() -> tuple[bytes, list[str]]:
        names = Names([HOME])
        answers = {"/image": respond(b"", f"{status} Moved", location="/other?x=1"), "/other?x=1": respond(b"pixels")}
        async with fetching(answers, names=names) as (fetcher, origin):
            return await fetcher.fetch(f"http://pictures.test:{origin.port}/image", PARAM), names.asked

    assert asyncio.run(run()) == (b"pixels", ["pictures.test", "pictures.test"])


@pytest.mark.parametrize(("allowed", "hops"), [(0, 0), (3, 3)])
def test_as_many_redirects_as_the_setting_allows(allowed: int, hops: int) -> None:
    async def run(path: str) -> bytes:
        answers = {f"/{n}": respond(b"", "302 Found", location=f"/{n - 1}") for n in range(1, hops + 2)}
        async with fetching({**answers, "/0": respond(b"pixels")}, FetchSettings(max_redirects=allowed)) as (
            fetcher,
            o,
        ):
            return await fetcher.fetch(f"http://pictures.test:{o.port}{path}", PARAM)

    assert asyncio.run(run(f"/{hops}")) == b"pixels"
    with refused("too_many_redirects"):
        asyncio.run(run(f"/{hops + 1}"))


def test_a_redirect_loop_ends() -> None:
    with refused("too_many_redirects"):
        fetch_one(respond(b"", "302 Found", location="/image"))


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("http://169.254.169.254/latest/meta-data/", "blocked_url"),
        ("http://10.0.0.1/", "blocked_url"),
        ("http://127.1/", "blocked_url"),
        ("//[::1]/", "blocked_url"),
        ("http://pictures.test:22/", "blocked_url"),
        ("file:///etc/passwd", "unsupported_url_scheme"),
        ("ftp://pictures.test/", "unsupported_url_scheme"),
        ("http://user:pass@pictures.test/", "invalid_url"),
        ("http://pictures.test\\@10.0.0.1/", "invalid_url"),
    ],
)
def test_each_hop_is_held_to_the_same_rules(location: str, code: str) -> None:
    with refused(code):
        fetch_one(respond(b"", "302 Found", location=location))


def test_a_redirect_to_a_private_name_is_blocked() -> None:
    async def names(host: str) -> Sequence[str]:
        return [HOME] if host == "pictures.test" else ["10.0.0.1"]

    async def run() -> None:
        answers = {"/image": respond(b"", "302 Found", location="")}
        async with fetching(answers, names=names) as (fetcher, origin):
            answers["/image"] = respond(b"", "302 Found", location=f"http://intranet.test:{origin.port}/")
            with refused("blocked_url"):
                await fetcher.fetch(f"http://pictures.test:{origin.port}/image", PARAM)

    asyncio.run(run())


def test_the_address_that_was_checked_is_the_one_dialled() -> None:
    async def run() -> None:
        names = Names([HOME], ["10.0.0.1"])
        async with fetching({"/image": respond(b"pixels")}, names=names) as (fetcher, origin):
            url = f"http://rebinding.test:{origin.port}/image"
            assert await fetcher.fetch(url, PARAM) == b"pixels"
            assert names.asked == ["rebinding.test"]
            with refused("blocked_url"):  # no connection is reused, because it would not be checked again
                await fetcher.fetch(url, PARAM)
            assert len(origin.heads) == 1

    asyncio.run(run())


@pytest.mark.parametrize("answers", [["10.0.0.1"], [HOME, "10.0.0.1"], ["10.0.0.1", HOME], [HOME, "fd00:ec2::254"]])
def test_any_blocked_answer_blocks_the_name(answers: list[str]) -> None:
    async def run() -> Origin:
        async with fetching({"/image": respond(b"pixels")}, names=Names(answers)) as (fetcher, origin):
            with refused("blocked_url"):
                await fetcher.fetch(f"http://mixed.test:{origin.port}/image", PARAM)
            return origin

    assert asyncio.run(run()).heads == []


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "168.63.129.16",
        "[fd00:ec2::254]",
        "127.0.0.1",
        "localhost",
        "10.1.2.3",
        "192.168.0.1",
        "100.64.0.1",
        "224.0.0.1",
        "0.0.0.0",
        "[::]",
        "[::1]",
        "[fe80::1]",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::a9fe:a9fe]",
        "[::169.254.169.254]",
        "[2002:7f00:1::1]",
        "127.0.0.1.",
        "127。0。0。1",
    ],
)
def test_the_default_rule_blocks_what_is_not_public(host: str) -> None:
    async def run() -> None:
        async with serving({"/": respond(b"pixels")}) as origin:
            ports = frozenset({origin.port})
            fetcher = Fetcher(FetchSettings(), LIMIT, ports=ports, resolve=Names([HOME]), tls=TRUSTED)
            for scheme in ("http", "https"):
                with refused("blocked_url"):
                    await fetcher.fetch(f"{scheme}://{host}:{origin.port}/", PARAM)
            await fetcher.aclose()
            assert origin.heads == []

    asyncio.run(run())


@pytest.mark.parametrize("port", ["22", "8080", "81", "0", "999999"])
def test_only_the_webs_ports_are_dialled(port: str) -> None:
    async def run() -> None:
        names = Names([HOME])
        fetcher = Fetcher(FetchSettings(), LIMIT, allow=only_home, resolve=names, tls=TRUSTED)
        with refused("blocked_url"):
            await fetcher.fetch(f"http://pictures.test:{port}/", PARAM)
        await fetcher.aclose()
        assert names.asked == []

    asyncio.run(run())


@pytest.mark.parametrize(("url", "port"), [("http://pictures.test/", 80), ("https://pictures.test/", 443)])
def test_a_scheme_has_its_port(url: str, port: int) -> None:
    async def run() -> None:
        names = Names([])
        fetcher = Fetcher(FetchSettings(), LIMIT, ports=frozenset({port}), resolve=names, tls=TRUSTED)
        with refused("image_fetch_failed"):
            await fetcher.fetch(url, PARAM)
        await fetcher.aclose()
        assert names.asked == ["pictures.test"]

    asyncio.run(run())


def test_the_next_address_is_tried_when_one_is_dead() -> None:
    async def run() -> bytes:
        async with serving({"/": respond(b"pixels")}) as origin:
            fetcher = Fetcher(
                FetchSettings(),
                LIMIT,
                allow=lambda address: not is_public(address),
                ports=frozenset({origin.port}),
                resolve=Names(["127.77.77.77", "::1", HOME]),
            )
            try:
                return await fetcher.fetch(f"http://pictures.test:{origin.port}/", PARAM)
            finally:
                await fetcher.aclose()

    assert asyncio.run(run()) == b"pixels"


def test_a_server_that_is_not_there_fails() -> None:
    async def run() -> None:
        async with serving({}) as origin:
            port = origin.port
        fetcher = Fetcher(
            FetchSettings(), LIMIT, allow=only_home, ports=frozenset({port}), resolve=Names([HOME]), tls=TRUSTED
        )
        with refused("image_fetch_failed"):
            await fetcher.fetch(f"http://pictures.test:{port}/", PARAM)
        await fetcher.aclose()

    asyncio.run(run())


def test_names_are_looked_up_by_the_system_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def look_up(host: str, *_: object, **__: object) -> list[object]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (HOME, 0))]

    async def run() -> bytes:
        async with serving({"/": respond(b"pixels")}) as origin:
            monkeypatch.setattr(socket, "getaddrinfo", look_up)
            ports = frozenset({origin.port})
            fetcher = Fetcher(FetchSettings(), LIMIT, allow=only_home, ports=ports, tls=TRUSTED)
            try:
                return await fetcher.fetch(f"http://pictures.test:{origin.port}/", PARAM)
            finally:
                await fetcher.aclose()

    assert asyncio.run(run()) == b"pixels"
    assert asked == ["pictures.test"]


@pytest.mark.parametrize(("status", "busy"), [(429, True), (503, True), (404, False), (500, False)])
def test_only_a_server_that_is_busy_is_said_to_be_so(status: int, busy: bool) -> None:
    with pytest.raises(InvalidInput) as refusal:
        fetch_one(respond(b"", f"{status} No"))
    assert (type(refusal.value) is ImageHostBusy, refusal.value.code) == (busy, "image_fetch_failed")


def test_a_name_that_does_not_exist_fails() -> None:
    async def missing(host: str) -> Sequence[str]:
        raise OSError("errno 8: the secret name is not known")

    with refused("image_fetch_failed"):
        fetch_one(respond(b"pixels"), names=missing)


def test_tls_verifies_the_name_though_an_address_is_dialled() -> None:
    async def run() -> None:
        async with fetching({"/image": respond(b"pixels")}, certificate=True) as (fetcher, origin):
            assert await fetcher.fetch(f"https://pictures.test:{origin.port}/image", PARAM) == b"pixels"
            assert f"host: pictures.test:{origin.port}" in origin.heads[0].lower()
            for host in ("other.test", HOME):
                with refused("image_fetch_failed"):
                    await fetcher.fetch(f"https://{host}:{origin.port}/image", PARAM)
            with refused("image_fetch_failed"):
                await fetcher.fetch(f"http://pictures.test:{origin.port}/image", PARAM)
            assert len(origin.heads) == 1

    asyncio.run(run())


def test_a_certificate_nobody_vouches_for_fails() -> None:
    async def run() -> None:
        async with fetching({"/image": respond(b"pixels")}, certificate=True) as (_, origin):
            ports = frozenset({origin.port})
            fetcher = Fetcher(FetchSettings(), LIMIT, allow=only_home, ports=ports, resolve=Names([HOME]))
            with refused("image_fetch_failed"):
                await fetcher.fetch(f"https://pictures.test:{origin.port}/image", PARAM)
            await fetcher.aclose()

    asyncio.run(run())


def test_fetching_can_be_switched_off() -> None:
    with refused("url_fetch_disabled"):
        fetch_one(respond(b"pixels"), settings=FetchSettings(enabled=False))


def test_a_fetcher_serves_on_after_failures() -> None:
    async def run() -> None:
        answers = {"/missing": respond(b"", "404 Not Found"), "/slow": silence, "/image": respond(b"pixels")}
        settings = FetchSettings(timeout_s=0.5, max_concurrent=2)
        async with fetching(answers, settings) as (fetcher, origin):
            base = f"http://pictures.test:{origin.port}"
            paths = ["/missing", "/slow"] * 2
            await asyncio.gather(*(fetcher.fetch(base + path, PARAM) for path in paths), return_exceptions=True)
            assert await fetcher.fetch(f"{base}/image", PARAM) == b"pixels"

    asyncio.run(run())


def test_a_caller_that_goes_away_frees_its_slot() -> None:
    async def run() -> None:
        answers = {"/slow": silence, "/image": respond(b"pixels")}
        async with fetching(answers, FetchSettings(max_concurrent=1)) as (fetcher, origin):
            gone = asyncio.ensure_future(fetcher.fetch(f"http://pictures.test:{origin.port}/slow", PARAM))
            await asyncio.sleep(0.1)
            gone.cancel()
            assert await fetcher.fetch(f"http://pictures.test:{origin.port}/image", PARAM) == b"pixels"
            with pytest.raises(asyncio.CancelledError):
                await gone

    asyncio.run(run())
