"""Replicas of the service as processes of this host, each on a port that it keeps when it is started anew."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.deploy.parts import ROOT, START_S, await_answer, free_port
from tests.support.waiting import WAIT_S

COUNT = 3


class Replica:
    """One replica. `log` is the file of all its log lines."""

    def __init__(self, name: str, log: Path, command: tuple[str, ...], settings: dict[str, object]) -> None:
        self.name = name
        self.log = log
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = command
        self._settings = {"server__port": self.port} | settings
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        given = {f"BLIP_SERVE_{key.upper()}": str(value) for key, value in self._settings.items()}
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *self._command], stdout=log, stderr=log, env=os.environ | given, cwd=ROOT
            )

    def await_ready(self) -> None:
        """Waits until its `/readyz` says so."""
        await_answer(f"{self.url}/readyz")

    def restart(self) -> int:
        """Ends it by SIGTERM and starts it anew; returns the exit code once it is ready again."""
        self._process.terminate()
        code = self._process.wait(START_S)
        self.start_again()
        return code

    def kill(self) -> None:
        """Ends it by SIGKILL; returns once it is gone."""
        self._process.kill()
        self._process.wait(WAIT_S)

    def start_again(self) -> None:
        """Starts it after its end."""
        self._process = self._start()
        self.await_ready()

    def send(self, number: signal.Signals) -> None:
        """Sends a signal."""
        self._process.send_signal(number)


@contextmanager
def replicas(folder: Path, *command: str, **settings: object) -> Iterator[list[Replica]]:
    """Replicas that run `python -m COMMAND`, all ready."""
    started: list[Replica] = []
    try:
        for number in range(1, COUNT + 1):
            name = f"replica-{number}"
            started.append(Replica(name, folder / f"{name}.log", command, settings))
        for replica in started:
            replica.await_ready()
        yield started
    finally:
        for replica in started:
            replica.kill()
