"""A hub of models on loopback, as the hub's client speaks to it. Holds one repository, `owner/model`."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "owner/model"


class Hub(ThreadingHTTPServer):
    """Serves `files`; with `refusal`, (status, error code of the hub), it answers that to everything."""

    def __init__(self, files: dict[str, bytes], refusal: tuple[int, str] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.refusal = refusal

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """The four requests a download makes: the model, its tree, a file's head, a file."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        """A file's head."""
        self.do_GET()

    def do_GET(self) -> None:
        """Everything else."""
        path = self.path.partition("?")[0]
        if self.server.refusal is not None:
            status, code = self.server.refusal
            self._send(b"{}", status, {"x-error-code": code, "x-error-message": "refused"})
        elif path.startswith(f"/api/models/{REPOSITORY}/tree"):
            self._send(json.dumps([self._entry(name) for name in self.server.files]).encode())
        elif path.startswith("/api/"):
            about = {"_id": "1", "id": REPOSITORY, "sha": COMMIT, "private": False, "tags": [], "siblings": []}
            self._send(json.dumps(about).encode())
        else:
            name = unquote(path.rpartition("/")[2])
            self._send(self.server.files[name], headers={"etag": f'"{_digest(name)}"', "x-repo-commit": COMMIT})

    def log_message(self, format: str, *args: object) -> None:
        """Keeps quiet."""

    def _entry(self, name: str) -> dict[str, object]:
        return {"type": "file", "oid": _digest(name), "size": len(self.server.files[name]), "path": name}

    def _send(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (
            {"content-type": "application/json", "content-length": str(len(body))} | (headers or {})
        ).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _digest(name: str) -> str:
    return hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()


@contextmanager
def running_hub(files: dict[str, bytes], refusal: tuple[int, str] | None = None) -> Iterator[Hub]:
    """A hub that runs while inside."""
    with Hub(files, refusal) as hub:
        thread = threading.Thread(target=hub.serve_forever)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
