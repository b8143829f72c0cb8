"""A server as a process of its own, on a free port of loopback, with a client."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

START_S = 300.0
POLL_S = 0.01
END_S = 5.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers: its process, where it is, a keep-alive client, and the seconds its start took."""

    process: "subprocess.Popen[bytes]"
    url: str
    client: httpx.Client
    start_seconds: float

    def pause(self) -> None:
        """Stops its processes where they are, so that one that polls takes nothing from its rivals."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Lets a paused one go on while inside."""
        os.killpg(self.process.pid, signal.SIGCONT)
        try:
            yield
        finally:
            self.pause()


@contextmanager
def running(
    arguments: Sequence[str],
    ready: str,
    log: Path,
    port: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Runs `python ARGUMENTS --port PORT` while inside, from when `GET ready` answers 200; on a free port by default.

    It has its processes' group to itself, which is ended with it. What it prints goes to `log`.
    `environment`: variables beside those of this process.
    """
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    with log.open("wb") as lines:
        process = subprocess.Popen(
            [sys.executable, *arguments, "--port", str(port)],
            stdout=lines,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
    try:
        with httpx.Client(base_url=url, timeout=START_S, trust_env=False) as client:
            _wait(process, client, ready, log)
            yield Server(process, url, client, time.perf_counter() - started)
    finally:
        _end(process)


@contextmanager
def together(servers: Sequence[AbstractContextManager[Server]]) -> Iterator[list[Server]]:
    """All of them, started side by side: each start takes one core some seconds."""
    with ExitStack() as running:
        with ThreadPoolExecutor(len(servers)) as starting:
            started = list(starting.map(running.enter_context, servers))
        yield started


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait(process: "subprocess.Popen[bytes]", client: httpx.Client, ready: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"The server ended with {process.returncode}: see {log}.")
        try:
            if client.get(ready).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(POLL_S)
    raise RuntimeError(f"The server is not ready after {START_S:.0f} s: see {log}.")


def _end(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):  # whoever used it may have ended it
        os.killpg(process.pid, signal.SIGCONT)
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_S)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
