"""Waiting for another thread, within a bound."""

import threading
import time
from collections.abc import Callable

WAIT_S = 20.0
"""Bound of every wait in the tests; none is reached unless a test fails."""


def wait_until(condition: Callable[[], bool]) -> None:
    """Polls a condition; fails the test where it never comes."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition never came"
        threading.Event().wait(0.002)
