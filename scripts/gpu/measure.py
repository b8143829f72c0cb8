"""What is measured, in order: what matters most first, since the time is bounded."""

import gc
import time
import traceback
from collections.abc import Callable, Iterator

import torch

from gpu import budgets, decode, embedding, served, steps, tower
from gpu.place import Place
from gpu.rows import Row

GROUPS: list[tuple[Callable[[Place], Iterator[Row]], int]] = [
    (tower.rows, 0),
    (steps.matching, 0),
    (decode.rows, 0),
    (budgets.rows, 20),
    (served.rows, 30),
    (embedding.rows, 30),
    (steps.writing_and_ranking, 20),
    (tower.compiled, 60),
]
"""Groups of rows, and the seconds that must be left for one to begin."""


def measure(place: Place, until: float, failed: Callable[[str], None]) -> Iterator[Row]:
    """All rows, as far as the time until `until` goes.

    `failed`: told of a group that raised and why. The others are measured all the same, since a card is rarely at hand.
    """
    for rows, needed in GROUPS:
        left = until - time.monotonic()
        if left < needed or left < 0:
            print(f"{rows.__module__}.{rows.__name__} is left out: {left:.0f} s are left", flush=True)
            continue
        try:
            yield from rows(place)
        except Exception as error:
            traceback.print_exc()
            failed(f"{rows.__module__}.{rows.__name__}: {error!r}")
        gc.collect()
        if place.on_card:
            torch.cuda.empty_cache()
