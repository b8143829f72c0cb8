"""A hub of models on loopback, as the hub's client speaks to it. It can be slow, wrong, and gone."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "owner/model"
LARGE = (".bin", ".safetensors", ".pth")
"""Ends of the names of files in the hub's large storage: these are named by SHA-256, the others as git does."""
NO_WEIGHTS = (2).to_bytes(8, "little") + b"{}"
"""A safetensors file that holds nothing."""

Files = Mapping[str, bytes | Path]


class Asked(NamedTuple):
    """A request for a file."""

    method: str
    name: str
    range: str | None


@dataclass
class Pause:
    """Where the hub stops sending a file until `go_on`: after so many of its bytes. `reached`: it stands there."""

    name: str
    position: int
    reached: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)


@dataclass
class Commit:
    """A repository at one commit. `wrong`: the names of files whose first byte is sent wrong; `long`: with more bytes
    than the tree says."""

    id: str
    files: Files
    wrong: set[str] = field(default_factory=set)
    long: set[str] = field(default_factory=set)

    def entry(self, name: str) -> dict[str, object]:
        """What the tree says of a file."""
        content = self.files[name]
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        told: dict[str, object] = {"type": "file", "oid": _git_id(content, size), "size": size, "path": name}
        if name.endswith(LARGE):
            told["lfs"] = {"oid": _sha256(content), "size": size, "pointerSize": 134}
        return told

    def etag(self, name: str) -> str:
        """The name of its blob in the client's cache."""
        content = self.files[name]
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        return _sha256(content) if name.endswith(LARGE) else _git_id(content, size)


class Hub(ThreadingHTTPServer):
    """Serves repositories by name and revision; with `refusal`, (status, error code of the hub), it answers only that.

    `log`: the requests for files, in order.
    """

    daemon_threads = True

    def __init__(self, refusal: tuple[int, str] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, dict[str, Commit]] = {}
        self.refusal = refusal
        self.pause: Pause | None = None
        self.log: list[Asked] = []

    def add(self, repository: str, files: Files, commit: str = COMMIT, revision: str = "main") -> Commit:
        """Puts files, in memory or on the disk, into a repository: a commit that a branch or tag names."""
        added = Commit(commit, files)
        self.repositories.setdefault(repository, {}).update({revision: added, commit: added})
        return added

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Keeps quiet of a client that was killed."""


class Handler(BaseHTTPRequestHandler):
    """The four requests a download makes: the model, its tree, a file's head, a file or its end."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        """A file's head."""
        self.do_GET()

    def do_GET(self) -> None:
        """Everything else."""
        parts = unquote(self.path.partition("?")[0]).strip("/").split("/")
        if self.server.refusal is not None:
            self._refuse(*self.server.refusal)
        elif parts[:2] == ["api", "models"]:
            self._about("/".join(parts[2:4]), parts[4:])
        else:
            self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))

    def log_message(self, format: str, *args: object) -> None:
        """Keeps quiet."""

    def _about(self, repository: str, rest: list[str]) -> None:
        """`/revision/main`, `/tree/main` or nothing: the commit, or its files."""
        commit = self._commit(repository, rest[1] if len(rest) > 1 else "main")
        if commit is None:
            return
        if rest[:1] == ["tree"]:
            self._send_json([commit.entry(name) for name in commit.files])
        else:
            about = {"_id": "1", "id": repository, "sha": commit.id, "private": False, "tags": [], "siblings": []}
            self._send_json(about)

    def _file(self, repository: str, revision: str, name: str) -> None:
        commit = self._commit(repository, revision)
        if commit is None:
            return
        self.server.log.append(Asked(self.command, name, self.headers["range"]))
        if name not in commit.files:
            self._refuse(404, "EntryNotFound")
            return
        content = _bytes(commit.files[name])
        if name in commit.wrong:
            content = bytes([content[0] ^ 1]) + content[1:]
        if name in commit.long:
            content += bytes(1 << 20)
        start = int((self.headers["range"] or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        headers = {"etag": f'"{commit.etag(name)}"', "x-repo-commit": commit.id, "accept-ranges": "bytes"}
        if start:
            headers["content-range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send(206 if start else 200, headers | {"content-length": str(len(content) - start)})
        if self.command == "GET":
            self._send_bytes(name, content, start)

    def _send_bytes(self, name: str, content: bytes, start: int) -> None:
        pause = self.server.pause
        if pause is not None and pause.name == name and start <= pause.position:
            self.wfile.write(content[start : pause.position])
            pause.reached.set()
            pause.go_on.wait()
            start = pause.position
        self.wfile.write(content[start:])

    def _commit(self, repository: str, revision: str) -> Commit | None:
        """The commit; `None` if there is none, which is then said."""
        revisions = self.server.repositories.get(repository)
        if revisions is None:
            self._refuse(404, "RepoNotFound")
        elif revision not in revisions:
            self._refuse(404, "RevisionNotFound")
        return (revisions or {}).get(revision)

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, {"x-error-code": code, "x-error-message": "refused", "content-length": "0"})

    def _send_json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self._send(200, {"content-type": "application/json", "content-length": str(len(body))})
        self.wfile.write(body)

    def _send(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()


def _bytes(content: bytes | Path) -> bytes:
    return content.read_bytes() if isinstance(content, Path) else content


def _sha256(content: bytes | Path) -> str:
    return hashlib.sha256(_bytes(content)).hexdigest()


def _git_id(content: bytes | Path, size: int) -> str:
    return hashlib.sha1(f"blob {size}\0".encode() + _bytes(content), usedforsecurity=False).hexdigest()


@contextmanager
def running_hub(files: Files | None = None, refusal: tuple[int, str] | None = None) -> Iterator[Hub]:
    """A hub that runs while inside. `files`: of the repository `REPOSITORY`, at `COMMIT`."""
    with Hub(refusal) as hub:
        if files is not None:
            hub.add(REPOSITORY, files)
        thread = threading.Thread(target=hub.serve_forever)
        thread.start()
        try:
            yield hub
        finally:
            if hub.pause is not None:
                hub.pause.go_on.set()
            hub.shutdown()
            thread.join()
