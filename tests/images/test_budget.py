import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from blip_serve.fair_threads import NotNow
from blip_serve.images.budget import FREE, ByteBudget

UNIT = 2 * FREE
"""Bytes that are counted."""


def test_bytes_are_shared_up_to_the_budget_and_given_back() -> None:
    budget = ByteBudget(2 * UNIT, 60)
    with ExitStack() as held:
        held.enter_context(budget.reserve(UNIT))
        held.enter_context(budget.reserve(UNIT))
        with pytest.raises(NotNow) as told, budget.reserve(UNIT):
            pass
        assert not told.value.room()
    assert told.value.room()
    with budget.reserve(2 * UNIT):
        pass


def test_what_is_small_takes_nothing() -> None:
    budget = ByteBudget(UNIT, 60)
    with budget.reserve(UNIT), budget.reserve(FREE), budget.reserve(FREE):
        pass


def test_what_weighs_more_than_the_budget_has_it_for_itself() -> None:
    budget = ByteBudget(2 * UNIT, 60)
    with budget.reserve(5 * UNIT), pytest.raises(NotNow), budget.reserve(UNIT):
        pass
    with budget.reserve(UNIT), pytest.raises(NotNow), budget.reserve(5 * UNIT):
        pass


def test_what_is_held_for_too_long_counts_no_more() -> None:
    budget = ByteBudget(UNIT, 0)
    with budget.reserve(UNIT), budget.reserve(UNIT):
        pass


def test_the_budget_is_never_exceeded() -> None:
    budget, lock = ByteBudget(10 * UNIT, 60), threading.Lock()
    held = most = served = 0

    def hold(weight: int) -> None:
        nonlocal held, most, served
        try:
            with budget.reserve(weight):
                with lock:
                    held += weight
                    most = max(most, held)
                    served += 1
                with lock:
                    held -= weight
        except NotNow:
            pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hold, [UNIT * n for n in (1, 10, 3, 7, 5)] * 100))
    assert held == 0
    assert served
    assert most <= 10 * UNIT
