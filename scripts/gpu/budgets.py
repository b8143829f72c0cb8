"""What a step's budget does: new images matched through the engine, with steps of different cost."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gpu.place import Place
from gpu.rows import Row, Timed
from tests.support.engine import running_engine
from tests.support.running import item

COSTS = (320, 2560, 10240)
"""The default, that of `configs/cuda.yaml`, and four times as much."""
IMAGES = {True: 640, False: 12}
WAIT_S = 120
FULL = 0.97
"""The part of the best rate from which on a budget fills the card."""


def rows(place: Place) -> Iterator[Row]:
    """A row for each budget, the least that fills the card marked."""
    model = place.load("retrieval", max_step_cost=max(COSTS))
    _matched(place, model, COSTS[-1])
    yield from marked([_matched(place, model, cost) for cost in COSTS])


def marked(found: Sequence[Row]) -> list[Row]:
    """The rows, in the order of their budgets, with each one's part of the best rate."""
    best = max(row.rate for row in found)
    fills = next(row for row in found if row.rate >= FULL * best)
    return [
        Row(
            row.name,
            row.model,
            row.count,
            row.ms,
            row.launching_ms,
            note=f"{row.note}; {row.rate / best:.0%} of the best{', the least that fills the card' * (row is fills)}",
        )
        for row in found
    ]


def _matched(place: Place, model: Any, cost: int) -> Row:
    count = IMAGES[place.on_card]
    items = [item(data, ["a dog on a beach"]) for data in place.take(count)]
    with ThreadPoolExecutor(place.cores) as threads:
        works = [work for prepared in threads.map(model.prepare, items) for work in prepared.works]
    timed: Any = Timed(model)
    with running_engine(max_step_cost=cost) as engine, engine.reserved(0, WAIT_S) as reservation:
        started = time.perf_counter()
        for future in engine.submit(reservation, timed, works):
            future.result(WAIT_S)
        whole = 1000 * (time.perf_counter() - started)
    note = f"{len(timed.seconds)} steps, {whole / len(timed.seconds):.1f} ms each"
    name = f"engine, new images matched, max_step_cost {cost}"
    return Row(name, place.name("retrieval"), count, whole, 1000 * sum(timed.seconds), note=note)
