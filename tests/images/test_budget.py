import threading
from concurrent.futures import ThreadPoolExecutor

from blip_serve.images.budget import FREE, ByteBudget

UNIT = 2 * FREE
"""Bytes that are counted."""


class Holder:
    """A thread that asks for bytes, and holds them until told."""

    def __init__(self, budget: ByteBudget, weight: int) -> None:
        self.holds = threading.Event()
        self.asks = threading.Event()
        self.drop = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(budget, weight), daemon=True)
        self.thread.start()
        self.asks.wait(5)

    def _run(self, budget: ByteBudget, weight: int) -> None:
        self.asks.set()
        with budget.reserve(weight, 5):
            self.holds.set()
            self.drop.wait(5)

    def stop(self) -> None:
        self.drop.set()
        self.thread.join(5)


def test_bytes_are_shared_up_to_the_budget() -> None:
    budget = ByteBudget(100 * UNIT)
    first, second = Holder(budget, 50 * UNIT), Holder(budget, 50 * UNIT)
    assert first.holds.wait(5)
    assert second.holds.wait(5)
    third = Holder(budget, 1 * UNIT)
    assert not third.holds.wait(0.05)
    first.stop()
    assert third.holds.wait(5)
    second.stop()
    third.stop()


def test_a_large_image_is_not_passed_over_by_small_ones() -> None:
    budget = ByteBudget(100 * UNIT)
    small = Holder(budget, 10 * UNIT)
    assert small.holds.wait(5)
    large = Holder(budget, 100 * UNIT)
    assert not large.holds.wait(0.05)
    late = Holder(budget, 10 * UNIT)
    assert not late.holds.wait(0.05)  # there would be room, but the large one came first
    small.stop()
    assert large.holds.wait(5)
    assert not late.holds.wait(0.05)
    large.stop()
    assert late.holds.wait(5)
    late.stop()


def test_the_budget_is_never_exceeded() -> None:
    budget, lock = ByteBudget(10 * UNIT), threading.Lock()
    held = most = 0

    def hold(weight: int) -> None:
        nonlocal held, most
        with budget.reserve(weight, 5):
            with lock:
                held += weight
                most = max(most, held)
            with lock:
                held -= weight

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hold, [UNIT * n for n in (1, 10, 3, 7, 5)] * 100))
    assert held == 0
    assert most <= 10 * UNIT


def test_what_is_small_waits_for_nothing() -> None:
    budget = ByteBudget(UNIT)
    with budget.reserve(UNIT, 0) as large, budget.reserve(FREE, 0) as small:
        assert large
        assert small


def test_who_waits_too_long_goes_without_and_holds_nothing() -> None:
    budget = ByteBudget(UNIT)
    with budget.reserve(UNIT, 0), budget.reserve(UNIT, 0.01) as late:
        assert not late
    with budget.reserve(UNIT, 0) as held:
        assert held


def test_what_weighs_more_than_the_budget_has_it_for_itself() -> None:
    budget = ByteBudget(2 * UNIT)
    with budget.reserve(5 * UNIT, 0) as held, budget.reserve(UNIT, 0) as other:
        assert held
        assert not other
