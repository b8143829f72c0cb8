"""Interactive and background works on the device thread, with the fake model."""

import math
from collections.abc import Sequence

import pytest

from blip_serve.domain import IMAGE_COST, Outcome
from blip_serve.engine import device_thread
from blip_serve.errors import OutOfMemory
from blip_serve.models.fake import FakeModel, FakeWork
from tests.support.engine import background, held, running_engine, work
from tests.support.waiting import WAIT_S, wait_until


@pytest.fixture
def _always_recent(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interactive work seen once is recent for ever."""
    monkeypatch.setattr(device_thread, "RECENT_S", math.inf)


@pytest.fixture
def _never_recent(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interactive work that has ended is not recent."""
    monkeypatch.setattr(device_thread, "RECENT_S", 0.0)


def sums(model: FakeModel) -> list[int]:
    """The cost of each step after the one that was held."""
    return [sum(cost for _, cost, _ in step) for step in model.steps[1:]]


def phases(model: FakeModel) -> list[str]:
    return [step[0][0] for step in model.steps[1:]]


def test_interactive_works_go_first() -> None:
    model = FakeModel()
    with running_engine(background_share=0) as engine:
        held(model, engine)
        later = engine.submit(background(engine), model, [work(phases=("b",)) for _ in range(3)])
        first = engine.submit(engine.reserve(1, WAIT_S), model, [work(phases=("i", "j", "k"))])
        model.open.set()
        for future in [*first, *later]:
            future.result(WAIT_S)
    assert phases(model) == ["i", "j", "k", "b"]


@pytest.mark.usefixtures("_always_recent")
def test_background_steps_are_an_image_at_most_while_interactive_works_are_recent() -> None:
    model = FakeModel()
    with running_engine() as engine:
        held(model, engine)
        futures = engine.submit(background(engine), model, [work(cost=20) for _ in range(10)])
        futures += engine.submit(background(engine), model, [work(cost=100, phases=("large",))])
        model.open.set()
        for future in futures:
            future.result(WAIT_S)
    assert sorted(sums(model)) == [IMAGE_COST] * 5 + [100]


@pytest.mark.usefixtures("_never_recent")
def test_background_steps_are_full_when_no_interactive_work_is_recent() -> None:
    model = FakeModel()
    with running_engine(max_step_cost=160) as engine:
        held(model, engine)
        futures = engine.submit(background(engine), model, [work(cost=20) for _ in range(20)])
        model.open.set()
        for future in futures:
            future.result(WAIT_S)
    assert sums(model) == [160, 160, 80]


@pytest.mark.usefixtures("_always_recent")
def test_background_steps_are_full_where_no_interactive_work_ever_came() -> None:
    model = FakeModel()
    with running_engine(max_step_cost=160, max_wait_ms=WAIT_S * 1000) as engine:
        reservation = background(engine)
        with engine.preparing(reservation):
            futures = engine.submit(reservation, model, [work(cost=20) for _ in range(4)])
            futures += engine.submit(reservation, model, [work(cost=20) for _ in range(4)])
            for future in futures:
                future.result(WAIT_S)
    assert [sum(cost for _, cost, _ in step) for step in model.steps] == [160]


@pytest.mark.usefixtures("_always_recent")
def test_a_request_that_is_admitted_makes_background_steps_small_before_its_works_come() -> None:
    model = FakeModel()
    with running_engine(max_step_cost=160) as engine, engine.reserved(1, WAIT_S):
        futures = engine.submit(background(engine), model, [work(cost=20) for _ in range(4)])
        for future in futures:
            future.result(WAIT_S)
    assert [len(step) for step in model.steps] == [2, 2]


class Order(FakeModel):
    """Notes what is launched and collected."""

    def __init__(self) -> None:
        super().__init__(depth=2)
        self.order: list[str] = []

    def launch(self, works: Sequence[FakeWork]) -> Sequence[FakeWork]:
        self.order.append(f"+{works[0].phase}")
        return super().launch(works)

    def collect(self, launched: Sequence[FakeWork]) -> list[Outcome]:
        self.order.append(f"-{launched[0].phase}")
        return super().collect(launched)


@pytest.mark.usefixtures("_always_recent")
def test_no_second_background_step_is_under_way_while_interactive_works_are_recent() -> None:
    model = Order()
    with running_engine() as engine:
        held(model, engine)
        futures = engine.submit(background(engine), model, [work(cost=40, phases=("b",)) for _ in range(3)])
        model.open.set()
        for future in futures:
            future.result(WAIT_S)
    assert model.order[2:] == ["+b", "-b"] * 3


@pytest.mark.usefixtures("_never_recent")
def test_two_background_steps_are_under_way_when_no_interactive_work_is_recent() -> None:
    model = Order()
    with running_engine(max_step_cost=160) as engine:
        futures = engine.submit(background(engine), model, [work(cost=160, phases=("b",)) for _ in range(3)])
        for future in futures:
            future.result(WAIT_S)
    assert model.order == ["+b", "+b", "-b", "+b", "-b", "-b"]


def test_an_interactive_step_goes_behind_a_background_step_under_way() -> None:
    model = Order()
    with running_engine() as engine:
        model.open.clear()
        later = engine.submit(background(engine), model, [work(phases=("b", "c"))])
        wait_until(lambda: bool(model.steps))
        first = engine.submit(engine.reserve(1, WAIT_S), model, [work(phases=("i",))])
        model.open.set()
        for future in [*first, *later]:
            future.result(WAIT_S)
    assert model.order == ["+b", "+i", "-b", "-i", "+c", "-c"]


def test_background_works_do_not_starve() -> None:
    model = FakeModel()
    with running_engine(background_share=0.1) as engine, engine.reserved(9999, WAIT_S) as reservation:
        held(model, engine)
        [small] = engine.submit(background(engine), model, [work(phases=("b",))])
        busy = engine.submit(reservation, model, [work(cost=100) for _ in range(100)])
        model.open.set()
        small.result(WAIT_S)
        for future in busy:
            future.result(WAIT_S)
    assert phases(model).index("b") == 2  # 300 and 300: a tenth of it is more than an image


def test_an_interactive_step_does_not_wait_for_background_works_that_are_being_prepared() -> None:
    with running_engine(max_wait_ms=WAIT_S * 2000) as engine, engine.preparing(background(engine)):
        assert engine.submit(engine.reserve(1, WAIT_S), FakeModel(), [work()])[0].result(WAIT_S) == "done"


def test_a_background_step_lets_an_interactive_work_go_first_that_is_being_prepared() -> None:
    model = FakeModel()
    with running_engine(max_wait_ms=WAIT_S * 2000) as engine:
        reservation = engine.reserve(1, WAIT_S)
        with engine.preparing(reservation):
            [later] = engine.submit(background(engine), model, [work(phases=("b",))])
            wait_until(lambda: engine._device._scheduler.background.count > 0)
            [first] = engine.submit(reservation, model, [work(phases=("i",))])
        assert [future.result(WAIT_S) for future in (first, later)] == ["done", "done"]
    assert [step[0][0] for step in model.steps] == ["i", "b"]


def test_an_interactive_work_that_never_comes_delays_a_background_step_by_max_wait_only() -> None:
    with running_engine(max_wait_ms=1) as engine, engine.preparing(engine.reserve(1, WAIT_S)):
        assert engine.submit(background(engine), FakeModel(), [work()])[0].result(WAIT_S) == "done"


def test_a_background_step_that_waits_for_company_lets_an_interactive_one_go_first() -> None:
    model = FakeModel()
    with running_engine(max_wait_ms=WAIT_S * 2000) as engine:
        reservation = background(engine)
        with engine.preparing(reservation):
            [later] = engine.submit(reservation, model, [work(phases=("b",))])
            wait_until(lambda: engine._device._busy_since is None and engine._device._scheduler.background.count > 0)
            assert not model.steps
            [first] = engine.submit(engine.reserve(1, WAIT_S), model, [work(phases=("i",))])
            assert first.result(WAIT_S) == "done"
        assert later.result(WAIT_S) == "done"
    assert [step[0][0] for step in model.steps] == ["i", "b"]


@pytest.mark.usefixtures("_always_recent")
def test_a_small_background_step_waits_for_company_too() -> None:
    model = FakeModel()
    with running_engine(max_wait_ms=WAIT_S * 2000) as engine:
        engine.close(engine.reserve(1, WAIT_S))
        reservation = background(engine)
        with engine.preparing(reservation):
            futures = [future for _ in range(4) for future in engine.submit(reservation, model, [work(cost=20)])]
            for future in futures:
                future.result(WAIT_S)
    assert [len(step) for step in model.steps] == [2, 2]


@pytest.mark.usefixtures("_always_recent")
def test_interactive_works_get_slots_while_background_works_fill_theirs() -> None:
    model = FakeModel(slots=64)
    with running_engine() as engine:
        held(model, engine)
        later = engine.submit(background(engine), model, [work(phases=("b",) * 9, slot=True) for _ in range(100)])
        model.open.set()
        wait_until(lambda: len(model.steps) > 2)
        [first] = engine.submit(engine.reserve(1, WAIT_S), model, [work(phases=("i", "i"), slot=True)])
        assert first.result(WAIT_S) == "done"
        for future in later:
            future.result(WAIT_S)
        wait_until(lambda: model.free_slots == 64)
    assert max(len(step) for step in model.steps) == IMAGE_COST  # 48 hold slots, and take turns in small steps
    assert not engine._device._scheduler._background_slots


def test_a_background_step_without_memory_is_split_as_well() -> None:
    def too_large(works: Sequence[FakeWork]) -> None:
        if len(works) > 1:
            raise OutOfMemory("no memory")

    model = FakeModel(on_launch=too_large)
    with running_engine() as engine:
        futures = engine.submit(background(engine), model, [work(i) for i in range(4)])
        assert [future.result(WAIT_S) for future in futures] == [0, 1, 2, 3]


def test_a_background_request_that_leaves_takes_its_works_along() -> None:
    model = FakeModel()
    with running_engine() as engine:
        held(model, engine)
        reservation = background(engine)
        futures = engine.submit(reservation, model, [work(phases=("gone",)) for _ in range(3)])
        engine.close(reservation)
        model.open.set()
        [last] = engine.submit(background(engine), model, [work()])
        assert last.result(WAIT_S) == "done"
    assert all(future.cancelled() for future in futures)
    assert "gone" not in phases(model)
