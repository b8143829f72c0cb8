"""Processes of modules of this project that start in no time: see `tests.support.forking`.

`python tests/support/forked.py SOCKET MODULE ARGUMENT...` is one for a shell (`shell`).
"""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
STANDARD = (0, 1, 2)
"""Standard input, output and error."""


class Forked:
    """A process: what the tests need of `subprocess.Popen`."""

    def __init__(
        self, forker: str, module: str, arguments: Sequence[str], files: Sequence[int], environment: Mapping[str, str]
    ) -> None:
        """`files` are its standard input, output and error; `forker` is the socket of the process that forks it."""
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(forker)
        socket.send_fds(self._connection, [b"\n"], files)
        asked = [module, arguments, dict(environment), os.getcwd()]
        self._connection.sendall(f"{json.dumps(asked)}\n".encode())
        self._told = self._connection.makefile()
        self.pid = int(self._told.readline())

    def send_signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        os.kill(self.pid, number)

    def wait(self, seconds: float | None = None) -> int:
        """Waits for its end. Raises `TimeoutError`, and kills it, after that many seconds."""
        self._connection.settimeout(seconds)
        try:
            return int(self._told.readline())
        except TimeoutError:
            self.send_signal(signal.SIGKILL)
            raise
        finally:
            self._told.close()
            self._connection.close()


class Forker:
    """The process that forks, while there is this one."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="blip-serve-forking-")
        self.socket = str(Path(self._folder.name) / "socket")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.socket)
            listener.listen()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.forking", str(listener.fileno())],
                stdin=subprocess.PIPE,
                pass_fds=[listener.fileno()],
                cwd=ROOT,
                start_new_session=True,
            )


@cache
def forker() -> Forker:
    """The one of this process."""
    return Forker()


def shell() -> str:
    """The lines that make `blip-serve` such a process in a shell."""
    command = [sys.executable, "-S", __file__, forker().socket, "blip_serve"]
    return f'blip-serve() {{ {shlex.join(command)} "$@"; }}\n'


if __name__ == "__main__":
    sys.exit(Forked(sys.argv[1], sys.argv[2], sys.argv[3:], STANDARD, os.environ).wait())
