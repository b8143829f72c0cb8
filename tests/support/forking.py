"""A process that has imported what the commands import, and forks one for whoever asks: that costs no import of torch.

`python -m tests.support.forking LISTENER`: a listening Unix socket, by its descriptor. It ends with its standard input.
Who connects sends three descriptors and a line of JSON, `[module, arguments, environment, folder]`, and is told the
number of the process, which runs the module as `python -m` does, and then its exit code.
"""

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
from contextlib import suppress
from importlib import import_module
from pkgutil import iter_modules
from typing import NoReturn

from blip_serve import cli, doctor, models


def main(listener: socket.socket) -> None:
    """Forks until standard input ends."""
    for package in (cli, doctor, models):
        for module in iter_modules(package.__path__, f"{package.__name__}."):
            import_module(module.name)
    gc.collect()
    gc.freeze()  # a fork shares what is here, and walks through none of it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _wait(connection)
            return
        connection.close()


def _wait(connection: socket.socket) -> None:
    """Forks the process that is asked for, and waits for it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, files, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile() as line:
        asked = json.loads(line.readline())
    process = os.fork()
    if process == 0:
        connection.close()
        _become(files, *asked)
    for file in files:
        os.close(file)  # whoever reads what the process writes sees its end
    with suppress(BrokenPipeError):  # who asked has gone
        connection.sendall(f"{process}\n".encode())
        connection.sendall(f"{os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])}\n".encode())
    os._exit(0)


def _become(files: list[int], module: str, arguments: list[str], environment: dict[str, str], folder: str) -> NoReturn:
    """Runs a module in this process, whose standard input, output and error are `files`."""
    for standard, file in enumerate(files):
        os.dup2(file, standard)
        os.close(file)
    sys.stdout.reconfigure(line_buffering=sys.stdout.isatty())  # type: ignore[union-attr]  # a text file
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv[1:] = arguments
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        _end(ended.code)
    _end(None)


def _end(code: object) -> NoReturn:
    """Ends this process as the interpreter does, but for freeing what was imported: that takes a second."""
    threading._shutdown()  # type: ignore[attr-defined]  # waits for the threads that are no daemons
    atexit._run_exitfuncs()
    if isinstance(code, str):
        print(code, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else bool(code))


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
