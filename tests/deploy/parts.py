"""Programs that are not ours, and where to find a place for them."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from blip_serve.settings import PREFIX
from tests.support.waiting import WAIT_S, wait_until

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
START_S = 90.0


def installed(name: str) -> str:
    """Where a program is. Fails where it is not: a test that needs it must not pass without."""
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    assert found is not None, f"{name} is not installed: scripts/deploy/install.sh does that"
    return found


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def replaced(file: Path, changes: Mapping[str, str]) -> str:
    """A file's text with some pieces replaced; each must be there."""
    text = file.read_text(encoding="utf-8")
    for old, new in changes.items():
        assert old in text, f"{file.name} has no {old!r}"
        text = text.replace(old, new)
    return text


def answers(url: str) -> bool:
    """Whether a GET is answered with 200."""
    at = urlsplit(url)
    connection = HTTPConnection(at.netloc, timeout=2)
    try:
        connection.request("GET", at.path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def health(port: int, *arguments: str) -> int:
    """The exit code of the image's health check."""
    environment = os.environ | {f"{PREFIX}SERVER__PORT": str(port)}
    command = [sys.executable, str(DOCKER / "healthcheck.py"), *arguments]
    return subprocess.run(command, env=environment, timeout=WAIT_S, check=False).returncode


def await_answer(url: str) -> None:
    """Waits until a GET is answered with 200: for the start of a process, whatever else this host does."""
    wait_until(lambda: answers(url), seconds=START_S, every=0.1)


@contextmanager
def process(folder: Path, name: str, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program while inside, told to end by SIGTERM after; its output is in the file `name`.log of `folder`."""
    with (folder / f"{name}.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as started:
        try:
            yield started
        finally:
            started.terminate()
            try:
                started.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                started.kill()
