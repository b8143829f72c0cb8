"""What a client says of itself and of the way its request came."""

from collections.abc import Iterator

import pytest

from blip_serve.models.fake import FakeModel
from tests.support.server import Service, always, fake_settings, serving


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving(fake_settings(), always(FakeModel())) as running:
        yield running


@pytest.mark.parametrize("forged", ["x" * 300, "a\tb", "né"])
def test_row47_a_forged_request_id_is_replaced(service: Service, forged: str) -> None:
    given = service.client.get("/livez", headers={"x-request-id": "mine-1"}).headers["x-request-id"]
    assert given == "mine-1"
    response = service.client.get("/livez", headers={b"x-request-id": forged.encode()})
    assert response.headers["x-request-id"].startswith("req-")


FORWARDED: list[tuple[str, tuple[str, ...], str, str]] = [
    ("by nobody", (), "203.0.113.9", "127.0.0.1"),
    ("by another", ("10.0.0.0/8",), "203.0.113.9", "127.0.0.1"),
    ("by the peer", ("127.0.0.1",), "203.0.113.9", "203.0.113.9"),
    ("by the peer's network", ("127.0.0.0/8",), "203.0.113.9", "203.0.113.9"),
    ("with a forged first", ("127.0.0.1",), "1.2.3.4, 203.0.113.9", "203.0.113.9"),
    ("with what is no address", ("127.0.0.1",), "nonsense", "unknown"),
    ("with a forged zone", ("127.0.0.1",), "fe80::1%nonsense", "fe80::1"),
]


@pytest.mark.parametrize(
    ("trusted", "header", "client"), [case[1:] for case in FORWARDED], ids=[c[0] for c in FORWARDED]
)
def test_row47_a_forwarded_address_is_believed_of_trusted_proxies_only(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    trusted: tuple[str, ...],
    header: str,
    client: str,
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")  # uvicorn's own, which is none of our settings
    settings = fake_settings(server={"trusted_proxies": trusted}, log={"level": "info"})
    with serving(settings, always(FakeModel())) as service:
        service.client.get("/v1/models", headers={"x-forwarded-for": header})
    [line] = [line for line in capfd.readouterr().err.splitlines() if "] request " in line]
    assert f" client={client} " in line
