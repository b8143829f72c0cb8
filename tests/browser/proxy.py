"""A reverse proxy that serves a service below a path, and notes what it is asked beside it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from tests.support.waiting import WAIT_S

OF_THE_CONNECTION = ("connection", "keep-alive", "transfer-encoding", "content-length", "date", "server")


@contextmanager
def below(prefix: str, upstream: str) -> Iterator[tuple[str, list[str]]]:
    """The address below which `upstream` is served while inside, and the paths asked for outside of it.

    `prefix` begins and ends with a slash.
    """
    astray: list[str] = []

    class Passing(BaseHTTPRequestHandler):
        """Passes on what is below the prefix; answers 404 to all else."""

        def do_GET(self) -> None:
            """Passes it on, and the answer back as it comes."""
            if not self.path.startswith(prefix):
                astray.append(self.path)
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            url = f"{upstream}/{self.path.removeprefix(prefix)}"
            with client.stream(self.command, url, headers=dict(self.headers), content=body) as answer:
                self.send_response(answer.status_code)
                for name, value in answer.headers.items():
                    if name not in OF_THE_CONNECTION:
                        self.send_header(name, value)
                self.end_headers()
                for part in answer.iter_raw():
                    self.wfile.write(part)
                    self.wfile.flush()

        def do_POST(self) -> None:
            """The same."""
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with (
        httpx.Client(timeout=WAIT_S, trust_env=False) as client,
        ThreadingHTTPServer(("127.0.0.1", 0), Passing) as server,
    ):
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}{prefix}", astray
        finally:
            server.shutdown()
            thread.join()
