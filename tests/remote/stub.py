"""A server on loopback that gives the answers it was told, one a connection, and keeps what it was sent."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.waiting import WAIT_S

HANG_UP = b""
"""An answer of no byte."""
SILENCE = b"silence"
"""No answer, until the client leaves."""
DRIP = b"drip"
"""An answer of a byte now and then, which does not end until the client leaves."""
DRIPS = 500


def answer(status: int, body: object, **headers: str) -> bytes:
    """An answer. `body`: JSON, or a text as HTML."""
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    kind = "text/html" if isinstance(body, str) else "application/json"
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join(
        [
            f"HTTP/1.1 {status} X",
            f"content-type: {kind}",
            f"content-length: {len(content)}",
            "connection: close",
            *lines,
        ]
    )
    return f"{head}\r\n\r\n".encode() + content


def refusal(status: int, code: str, param: str | None = None, **headers: str) -> bytes:
    """An answer with an error's envelope."""
    body = {"error": {"message": "Told so.", "type": "x", "param": param, "code": code}}
    return answer(status, body, **headers)


class Stub:
    """Where it is, and the heads and bodies of the requests."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[str] = []

    @property
    def bodies(self) -> list[Any]:
        """The requests' JSON."""
        return [json.loads(request.partition("\r\n\r\n")[2]) for request in self.requests]


@contextmanager
def telling(*answers: bytes) -> Iterator[Stub]:
    """Serves inside. After the last answer it gives none."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stub = Stub(f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread = threading.Thread(target=_serve, args=(listener, stub, answers))
        thread.start()
        try:
            yield stub
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(WAIT_S)


def _serve(listener: socket.socket, stub: Stub, answers: tuple[bytes, ...]) -> None:
    for each in answers:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client:
            client.settimeout(WAIT_S)
            stub.requests.append(_request(client))
            try:
                if each == SILENCE:
                    client.recv(1)
                elif each == DRIP:
                    _drip(client)
                else:
                    client.sendall(each)
            except OSError:
                continue


def _drip(client: socket.socket) -> None:
    client.settimeout(0.01)
    client.sendall(b"HTTP/1.1 200 X\r\n\r\n")
    for _ in range(DRIPS):
        try:
            client.recv(1)
        except TimeoutError:
            client.sendall(b" ")
        else:
            return


def _request(client: socket.socket) -> str:
    received = b""
    while b"\r\n\r\n" not in received:
        received += client.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(body) < length:
        body += client.recv(65536)
    return (head + b"\r\n\r\n" + body).decode()
