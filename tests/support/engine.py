"""An engine with a fake model, and works to give it."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from blip_serve.domain import Done, Outcome, Progress
from blip_serve.engine.engine import Engine
from blip_serve.engine.reservation import Reservation
from blip_serve.models.fake import FakeModel, FakeWork
from blip_serve.settings import EngineSettings, LogSettings
from blip_serve.telemetry import Telemetry
from tests.support.waiting import WAIT_S, wait_until


@contextmanager
def running_engine(**settings: Any) -> Iterator[Engine]:
    """An engine that runs while inside."""
    engine = Engine(EngineSettings(**settings), Telemetry(LogSettings(level="error")))
    engine.start()
    try:
        yield engine
    finally:
        engine.stop(drain_s=0)


def held(model: FakeModel, engine: Engine) -> None:
    """Puts a step on the device and holds it there, so that what follows queues up."""
    model.open.clear()
    engine.submit(engine.reserve(1, WAIT_S), model, [work(phases=("held",))])
    wait_until(lambda: bool(model.steps))


def background(engine: Engine, size: int = 1, seconds: float = WAIT_S) -> Reservation:
    """Room for a background request, which must be there at once."""
    wanted = engine.reserve_background(size, seconds)
    assert wanted.done()
    return wanted.result()


def work(
    result: object = "done", *, phases: Sequence[str] = ("score",), cost: int = 1, length: int = 0, slot: bool = False
) -> FakeWork:
    """A work that goes through `phases`, each at `cost`, and ends in `result`."""
    plan: deque[Outcome] = deque([*(Progress(phase, cost) for phase in phases[1:]), Done(result)])
    return FakeWork(phase=phases[0], cost=cost, length=length, plan=plan, slot=slot)
