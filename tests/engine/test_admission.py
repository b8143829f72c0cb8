"""Room in the queue: interactive requests are refused at once, background requests wait in line."""

import time
from concurrent.futures import Future

import pytest

from blip_serve.engine.engine import Engine
from blip_serve.engine.reservation import Reservation
from blip_serve.errors import DeadlineExceeded, Overloaded, Unavailable
from blip_serve.models.fake import FakeModel
from tests.support.engine import background, running_engine, work
from tests.support.waiting import WAIT_S

Wanted = Future[Reservation]


def waiting(engine: Engine, *sizes: int) -> "list[Wanted]":
    """Background requests that wait for room."""
    wanted = [engine.reserve_background(size, WAIT_S) for size in sizes]
    assert not any(each.done() for each in wanted)
    return wanted


def test_a_background_request_is_admitted_at_once_where_there_is_room() -> None:
    model = FakeModel()
    with running_engine(max_queue_cost=10) as engine:
        reservation = background(engine, 10)
        assert reservation.work_class == "background"
        assert engine.submit(reservation, model, [work()])[0].result(WAIT_S) == "done"


def test_background_requests_wait_for_room_first_come_first_served() -> None:
    with running_engine(max_queue_cost=10) as engine:
        first = background(engine, 8)
        large, small = waiting(engine, 10, 1)  # the small one would fit, but is not before the large one
        engine.close(first)
        assert large.done()
        assert not small.done()
        engine.close(large.result())
        assert small.done()


def test_room_for_several_admits_several() -> None:
    with running_engine(max_queue_cost=10) as engine:
        first = background(engine, 10)
        wanted = waiting(engine, 3, 3, 3, 3)
        engine.close(first)
        assert [each.done() for each in wanted] == [True, True, True, False]


def test_the_classes_take_no_room_from_each_other() -> None:
    with running_engine(max_queue_cost=10) as engine:
        background(engine, 10)
        waiting(engine, 10)
        with engine.reserved(10, WAIT_S), pytest.raises(Overloaded):
            engine.reserve(1, WAIT_S)
        engine.close(engine.reserve(10, WAIT_S))


def test_too_many_background_requests_are_refused() -> None:
    with running_engine(max_queue_cost=10, max_background_waiting=2) as engine:
        first = background(engine, 10)
        wanted = waiting(engine, 1, 1)
        with pytest.raises(Overloaded) as refused:
            engine.reserve_background(1, WAIT_S)
        assert refused.value.retry_after is not None
        engine.close(first)
        assert all(each.done() for each in wanted)
        background(engine, 1)


def test_a_background_request_that_no_room_suffices_for_is_refused() -> None:
    with running_engine(max_queue_cost=10) as engine, pytest.raises(Overloaded):
        engine.reserve_background(11, WAIT_S)


@pytest.mark.parametrize("withdrawn", [True, False])
def test_a_waiter_that_is_cancelled_leaves_the_line(withdrawn: bool) -> None:
    with running_engine(max_queue_cost=10, max_background_waiting=2) as engine:
        background(engine, 5)
        large, small = waiting(engine, 10, 5)
        if withdrawn:
            engine.withdraw(large)
        else:
            large.cancel()
        assert large.cancelled()
        assert small.done()
        waiting(engine, 1, 1)  # the line is empty again


def test_what_was_admitted_before_it_was_given_up_is_closed() -> None:
    with running_engine(max_queue_cost=10) as engine:
        first = background(engine, 10)
        [wanted, behind] = waiting(engine, 10, 10)
        engine.close(first)
        assert wanted.done()
        engine.withdraw(wanted)
        assert behind.done()


def test_the_wait_for_room_is_part_of_a_request_s_time() -> None:
    with running_engine(max_queue_cost=10) as engine:
        first = background(engine, 10)
        [wanted] = waiting(engine, 1)
        engine.close(first)
        assert wanted.result().deadline < time.monotonic() + WAIT_S


@pytest.mark.parametrize("moved_by", ["room", "newcomer"])
def test_a_waiter_whose_time_is_up_is_told_so_and_not_admitted(moved_by: str) -> None:
    with running_engine(max_queue_cost=10, max_background_waiting=2) as engine:
        first = background(engine, 10)
        late = engine.reserve_background(10, 0.0)
        [next_one] = waiting(engine, 10)
        if moved_by == "newcomer":
            waiting(engine, 1)  # finds a place, for the late one has left
        else:
            engine.close(first)
        with pytest.raises(DeadlineExceeded):
            late.result(0)
        assert next_one.done() == (moved_by == "room")


def test_stop_fails_the_waiters_at_once_and_lets_the_admitted_end() -> None:
    model = FakeModel()
    with running_engine(max_queue_cost=10) as engine:
        first = background(engine, 10)
        [wanted] = waiting(engine, 1)
        wanted.add_done_callback(lambda _: engine.close(first))  # or `stop` would wait for its time to be over
        assert engine.submit(first, model, [work()])[0].result(WAIT_S) == "done"
        started = time.monotonic()
        engine.stop(drain_s=WAIT_S)
        assert time.monotonic() - started < WAIT_S
        with pytest.raises(Unavailable):
            wanted.result(0)
        with pytest.raises(Unavailable):
            engine.reserve_background(1, WAIT_S)


def test_an_engine_given_up_fails_the_waiters_each_with_an_error_of_its_own() -> None:
    with running_engine(max_queue_cost=10) as engine:
        background(engine, 10)
        wanted = waiting(engine, 1, 1)
        engine.give_up(RuntimeError("lost"))
        errors = [each.exception(0) for each in wanted]
        assert all(isinstance(error, Unavailable) for error in errors)
        assert errors[0] is not errors[1]


def test_the_queue_s_gauges_tell_the_background_s_part() -> None:
    with running_engine(max_queue_cost=10) as engine:
        engine.reserve(3, WAIT_S)
        background(engine, 7)
        waiting(engine, 7, 8)
        found = {name: value for name, _, value in engine._telemetry.samples()}
    names = ("queue_cost", "queue_requests", "background_queue_cost", "background_waiting_requests")
    assert [found[f"blip_serve_{name}"] for name in names] == [10, 2, 7, 2]
