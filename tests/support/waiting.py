"""Waiting for another thread, within a bound."""

import threading
import time
from collections.abc import Callable

WAIT_S = 20.0
"""Bound of every wait in the tests; none is reached unless a test fails."""
STARTED_S = 60.0
"""The same for a process that loads models, on a machine that does other things as well."""


def wait_until(condition: Callable[[], bool], seconds: float = WAIT_S, every: float = 0.002) -> None:
    """Polls a condition; fails the test where it never comes."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never came"
        threading.Event().wait(every)
