"""The command line in a terminal: what stands on the screen in the end."""

import fcntl
import os
import pty
import struct
import termios

import pyte

from tests.support.forked import Forked, forker
from tests.support.waiting import WAIT_S


def screen_of(*arguments: str, columns: int = 100, rows: int = 60) -> list[str]:
    """The lines of the screen once `blip-serve` with `arguments` has ended, blank ones at the end left out."""
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "CI")}
    process = Forked(forker().socket, "blip_serve", arguments, [end] * 3, environment | {"TERM": "xterm-256color"})
    os.close(end)
    screen = pyte.Screen(columns, rows)
    stream = pyte.ByteStream(screen)
    while written := _read(terminal):
        stream.feed(written)
    os.close(terminal)
    assert process.wait(WAIT_S) == 0
    return "\n".join(line.rstrip() for line in screen.display).rstrip().split("\n")


def _read(terminal: int) -> bytes:
    """What was written next; nothing once the process is gone, which Linux tells by an error."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""
