"""The connection of this process to a Ray cluster, which may be one that it starts. Ray keeps silent."""

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.exceptions import RayError

from blip_serve.errors import ConfigurationError

LOCAL, AUTO = "local", "auto"
LOOPBACK = "127.0.0.1"
STDERR = 2
ANSWERS_S = 5.0
"""Seconds in which a cluster must accept a connection."""
STORE_BYTES = 200 * 2**20
"""Ray's store of objects on this machine. Todos and segments are all that goes through it."""


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Connects to the cluster at `address` while inside. Raises `ConfigurationError` if it is not there."""
    _connect(address)
    try:
        yield
    finally:
        ray.shutdown()


def _connect(address: str) -> None:
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # it prints errors before it raises them
    own = {"include_dashboard": False, "object_store_memory": STORE_BYTES, "_node_ip_address": LOOPBACK}
    try:
        if address not in (LOCAL, AUTO):
            _check(address)
        with _no_stderr(), _same_end():
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **(own if address == LOCAL else {}))
    except (OSError, RuntimeError, ValueError, RayError) as error:
        raise ConfigurationError(f"--ray {address}: {error}") from None


def _check(address: str) -> None:
    """Raises `OSError` or `ValueError` where nothing answers: Ray would wait for minutes."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()) or "/" in host:
        raise ValueError("give local, auto, or HOST:PORT of the cluster that this machine is in")
    socket.create_connection((host.strip("[]"), int(port)), ANSWERS_S).close()


@contextmanager
def _same_end() -> Iterator[None]:
    """Keeps what this process does at SIGTERM. Ray would have it exit at once."""
    kept = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, kept)


@contextmanager
def _no_stderr() -> Iterator[None]:
    """Hides what Ray's core prints while it starts, in C++ and so past `sys.stderr`."""
    kept = os.dup(STDERR)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), STDERR)
        yield
    finally:
        os.dup2(kept, STDERR)
        os.close(kept)
