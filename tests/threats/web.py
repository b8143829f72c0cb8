"""A web of one public host and much that must not be reached, as the service's fetcher sees it. All of it is loopback.

`pictures.test` is the public host: an operator's exemption stands for its being public. Whatever else the names lead to
is forbidden, though a server listens there. The rules for addresses and the lists are the service's own.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpcore
import pytest
from anyio.from_thread import start_blocking_portal

from blip_serve.images.destinations import WEB_PORTS
from blip_serve.images.fetch import Fetcher
from blip_serve.models.fake import FakeModel
from blip_serve.settings import FetchSettings
from tests.images.origin import Answer, Origin
from tests.images.origin import serving as serving_origin
from tests.support.server import Service, always, fake_settings, serving

CERTIFICATE = Path(__file__).parents[1] / "images" / "pictures.test.pem"
HOME = "127.0.0.1"
MAX_BYTES = 100_000
HANGS = "hangs.test"


@dataclass
class Web:
    """`origin` is the public host over HTTP, `secure` over TLS; `forbidden` listens beside them, on the same address.

    `names`: each look-up takes the next of a name's answers, the last one stays. `asked`, `dialled`: every look-up, and
    every connection tried, whether or not anybody listened.
    """

    service: Service
    origin: Origin
    secure: Origin
    forbidden: Origin
    answers: dict[str, Answer]
    names: dict[str, list[Sequence[str]]]
    asked: list[str] = field(default_factory=list)
    dialled: list[tuple[str, int]] = field(default_factory=list)

    def url(self, path: str, host: str = "pictures.test") -> str:
        """Of the public host."""
        return f"http://{host}:{self.origin.port}{path}"

    def reset(self) -> None:
        """Forgets what was heard."""
        self.asked.clear()
        self.dialled.clear()
        for server in (self.origin, self.secure, self.forbidden):
            server.heads.clear()
            server.connections = 0

    async def resolve(self, host: str) -> Sequence[str]:
        """Knows `names`, and what every resolver takes for an address; anything else does not exist."""
        self.asked.append(host)
        if host == HANGS:
            await asyncio.sleep(60)
        if answers := self.names.get(host):
            return answers.pop(0) if len(answers) > 1 else answers[0]
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        return [str(address[0]) for *_, address in found]


@contextmanager
def world_wide(answers: dict[str, Answer], names: dict[str, list[Sequence[str]]], **fetch: Any) -> Iterator[Web]:
    """A service, and the web around it; `fetch` are settings of its fetcher."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(CERTIFICATE)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serving_origin(answers)) as origin,
        portal.wrap_async_context_manager(serving_origin(answers, tls)) as secure,
        portal.wrap_async_context_manager(serving_origin(answers)) as forbidden,
        pytest.MonkeyPatch.context() as patch,
    ):
        exempt = [f"{name}:{server.port}" for name in ("pictures.test", *names) for server in (origin, secure)]
        settings = FetchSettings(**{"timeout_s": 5, "private_hosts": exempt} | fetch)
        web: Web

        async def resolve(host: str) -> Sequence[str]:
            return await web.resolve(host)

        fetcher = Fetcher(
            settings,
            MAX_BYTES,
            ports=WEB_PORTS | {forbidden.port},
            resolve=resolve,
            tls=ssl.create_default_context(cafile=CERTIFICATE),
        )
        with serving(fake_settings(), always(FakeModel()), fetcher=fetcher) as service:
            known: dict[str, list[Sequence[str]]] = {"pictures.test": [[HOME]]}
            web = Web(service, origin, secure, forbidden, answers, known | names)
            patch.setattr(httpcore.AnyIOBackend, "connect_tcp", _recorded(web.dialled))
            yield web


def _recorded(dialled: list[tuple[str, int]]) -> Callable[..., Any]:
    """Writes down what is dialled, and opens connections to this host as before; the network is not touched."""
    connect = httpcore.AnyIOBackend.connect_tcp

    async def connect_tcp(self: httpcore.AnyIOBackend, host: str, port: int, *given: Any, **named: Any) -> Any:
        dialled.append((host, port))
        if host != HOME:
            raise httpcore.ConnectError("unreachable")
        return await connect(self, host, port, *given, **named)

    return connect_tcp
