"""An object in a process of its own, called from here.

Sides that share a process slow each other: each thread that computes has its OpenMP team, and where a process has more
such threads than cores they no longer spin at barriers. On 2 cores that made both sides of a pair a fifth slower.
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

_made: list[Any] = []


class Apart:
    """What `make(*given)` makes, in a process that ends with this."""

    def __init__(self, make: Callable[..., object], *given: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._process = ProcessPoolExecutor(1, context, initializer=partial(_make, make, *given))
        self._process.submit(int)  # starts it, so that it is made while others start

    def __enter__(self) -> "Apart":
        return self

    def __exit__(self, *raised: object) -> None:
        self._process.shutdown()

    def call(self, method: str, *given: object) -> Any:
        """What a method of it returns, or raises."""
        return self._process.submit(_call, method, given).result()


def _make(make: Callable[..., object], *given: object) -> None:
    _made.append(make(*given))


def _call(method: str, given: tuple[object, ...]) -> Any:
    return getattr(_made[0], method)(*given)
