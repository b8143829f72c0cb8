"""Stand-ins for replicas that a request kills: with real ones, each death would cost a start."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Mortal(ThreadingHTTPServer):
    """Keeps its connections; a POST ends its own without an answer, as the death of the process would."""

    daemon_threads = True

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.name = name
        self.port = self.server_port
        self.deaths = 0


class Handler(BaseHTTPRequestHandler):
    """What a `Mortal` answers."""

    server: Mortal
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """200."""
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        """Nothing."""
        self.server.deaths += 1
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Keeps quiet."""


@contextmanager
def mortals() -> Iterator[list[Mortal]]:
    """Three, while inside."""
    with ExitStack() as stack:
        started = [stack.enter_context(Mortal(f"replica-{number}")) for number in (1, 2, 3)]
        for each in started:
            threading.Thread(target=each.serve_forever, daemon=True).start()
            stack.callback(each.shutdown)
        yield started
