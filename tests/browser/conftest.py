"""A real Chromium, the distribution's, and what it opens: pages of two origins, and the playground of the demo."""

import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from blip_serve.api.playground import PICTURES
from tests.support.server import Service, serving, settings
from tests.support.waiting import WAIT_S

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page  # of the extra `browser`, which the other tests do without

Visit = Callable[..., "Page"]

FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP *.test 127.0.0.1",
]
"""Nothing but the tests' own pages is spoken to; names below `.test` lead to loopback, as a rebinding name would."""


class Blank(BaseHTTPRequestHandler):
    """An empty page at every path."""

    def do_GET(self) -> None:
        """Answers it."""
        page = b"<!doctype html><title>a page</title><iframe name=answer></iframe>"
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class QuietFiles(SimpleHTTPRequestHandler):
    """The files of a folder."""

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="session")
def pages() -> Iterator[int]:
    """The port of pages."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Blank) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def chromium() -> Iterator["Browser"]:
    """It runs without a window."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium")
    assert found is not None, "chromium is not installed: scripts/deploy/install.sh browser"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS, chromium_sandbox=False)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def open_page(chromium: "Browser") -> "Callable[[str], Page]":
    """Opens an address in a context of its own."""

    def opened(address: str) -> "Page":
        page = chromium.new_context().new_page()
        page.goto(address)
        return page

    return opened


@pytest.fixture(scope="session")
def pictures() -> Iterator[int]:
    """The port of the sample pictures, as a host that the demo may fetch from."""
    handler = partial(QuietFiles, directory=str(PICTURES))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def demo(pictures: int) -> Iterator[Service]:
    """The demo's checkpoints, served as by default."""
    with serving(settings(images={"fetch": {"private_hosts": (f"127.0.0.1:{pictures}",)}})) as service:
        yield service


@pytest.fixture
def visit(chromium: "Browser", demo: Service) -> "Iterator[Visit]":
    """Opens the playground as a visitor would. At the end it must have asked no other host and told of no error."""
    said: list[str] = []
    asked: set[str] = set()
    contexts = []

    def opened(
        address: str = "",
        service: Service = demo,
        expected: tuple[str, ...] = (),
        before: "Callable[[Page], Any]" = id,
        **screen: Any,
    ) -> "Page":
        """`address`: what follows the host. `expected`: words of the console's errors that the test provokes.

        `before`: what is done with the page before it is opened.
        """
        context = chromium.new_context(**screen)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_S * 1000)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.add(request.url))

        def noted(message: Any) -> None:
            if message.type in ("error", "warning") and not any(words in message.text for words in expected):
                said.append(message.text)

        page.on("console", noted)
        own.append(service.url)
        before(page)
        page.goto(f"{service.url}/{address}")
        return page

    own: list[str] = []
    yield opened
    for context in contexts:
        context.close()
    assert not said
    assert not [url for url in asked if not url.startswith((*own, "blob:", "data:"))]
