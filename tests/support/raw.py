"""Bytes over a connection, for what no HTTP client would send."""

import socket
from contextlib import suppress

from tests.support.waiting import WAIT_S


def connect(url: str) -> socket.socket:
    """A connection to the service at `url`; its waits are bounded."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=WAIT_S)


def exchange(url: str, *pieces: bytes) -> bytes:
    """All that is answered to `pieces`, up to the end of the connection."""
    with connect(url) as client:
        with suppress(ConnectionError):
            for piece in pieces:
                client.sendall(piece)
        return read_to_end(client)


def read_to_end(client: socket.socket) -> bytes:
    """What comes until the other side ends the connection. Raises `TimeoutError` where it never does."""
    read = b""
    with suppress(ConnectionError):
        while piece := client.recv(65536):
            read += piece
    return read


def status(answer: bytes) -> int:
    """The status of the first answer."""
    return int(answer.split(b" ", 2)[1])
