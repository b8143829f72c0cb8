"""Servers at every address there is: one of them has pictures, all others are traps."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from tests.support.pictures import encoded, picture

GOOD = ("93.184.215.14", "2606:2800:21f:cb07::1")
"""Addresses on the public internet, which here lead to this machine, as all do."""
PICTURE = encoded(picture(3))
REDIRECT = "/redirect/"


def take_every_address() -> None:
    """Makes all of the internet local. Only within a network namespace."""
    for family in ("-4", "-6"):
        everything = "0.0.0.0/0" if family == "-4" else "::/0"
        subprocess.run(["ip", family, "route", "add", "local", everything, "dev", "lo"], check=True)


class Server(ThreadingHTTPServer):
    """HTTP at one port of every address. `trapped`: addresses, other than the good ones, that were connected to."""

    daemon_threads = True

    def __init__(self, family: socket.AddressFamily, address: str, port: int, good: tuple[str, ...]) -> None:
        self.address_family = family
        self.good = good
        self.trapped: list[str] = []
        super().__init__((address, port), Pictures)

    def server_bind(self) -> None:
        """Binds to this family only."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that is dropped is no news."""


class Pictures(BaseHTTPRequestHandler):
    """A picture at every path, but for those that redirect."""

    server: Server

    def do_GET(self) -> None:
        """Answers."""
        at = self.connection.getsockname()[0]
        if at not in self.server.good:
            self.server.trapped.append(at)
        if self.path.startswith(REDIRECT):
            self.send_response(302)
            self.send_header("location", unquote(self.path.removeprefix(REDIRECT)).encode().decode("latin-1"))
            body = b""
        else:
            self.send_response(200)
            self.send_header("content-type", "image/png")
            body = PICTURE
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def serving(address: str, port: int, good: tuple[str, ...]) -> Iterator[Server]:
    """Serves while inside; `port` 0 takes a free one."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = Server(family, address, port, good)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
