"""A figure of the report, and how steps of a model are timed: on the device alone, without decoding and tokenizing."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.machine import synchronise
from blip_serve.domain import AnyModel, Prepared, Work
from blip_serve.models.running import run_prepared

LARGE_STEP: dict[str, Any] = {"max_step_cost": 65536, "max_sequences": 256}
"""Settings of the engine with which all works of a phase are one step."""


@dataclass(frozen=True, slots=True)
class Row:
    """A figure: `count` units in `ms`.

    `launching_ms`: the part of this time in which the host was launching. `device_ms`: what the device takes for the
    same when it never waits for the host. `note`: what follows from it.
    """

    name: str
    model: str
    count: int
    ms: float
    launching_ms: float | None = None
    device_ms: float | None = None
    note: str = ""

    @property
    def rate(self) -> float:
        """How many a second."""
        return self.count / self.ms * 1000


class Timed:
    """A model that counts its launches, and notes how long they take the host. For `run_prepared` and an engine."""

    def __init__(self, model: AnyModel) -> None:
        self._model = model
        self.admit, self.release, self.collect = model.admit, model.release, model.collect
        self.depth = model.depth
        self.seconds: list[float] = []

    def launch(self, works: Sequence[Work]) -> Any:
        """The model's."""
        started = time.perf_counter()
        launched = self._model.launch(works)
        self.seconds.append(time.perf_counter() - started)
        return launched


def seconds_of(model: Any, prepared: Sequence[Prepared], device: str) -> tuple[float, float]:
    """Seconds that prepared items take, and those of them that the host was launching."""
    timed = Timed(model)
    synchronise(device)
    started = time.perf_counter()
    run_prepared(timed, prepared)  # type: ignore[arg-type]  # it prepares nothing
    synchronise(device)
    return time.perf_counter() - started, sum(timed.seconds)


def median_ms(seconds: Sequence[float]) -> float:
    """Their median in milliseconds."""
    return 1000 * statistics.median(seconds)
