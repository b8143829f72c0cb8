"""The engine's invariants, with the fake model."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from typing import get_args

import pytest

from blip_serve.domain import Done, Failed, Outcome, Piece, Progress
from blip_serve.errors import DeadlineExceeded, DeviceLost, InternalError, OutOfMemory, Overloaded, Unavailable
from blip_serve.models.fake import Call, FakeModel, FakeWork
from tests.support.engine import held, running_engine, work
from tests.support.waiting import WAIT_S, wait_until

CALLS: tuple[Call, ...] = get_args(Call)


def phases_of(model: FakeModel) -> list[str]:
    return [step[0][0] for step in model.steps]


def test_a_work_goes_through_its_phases_to_its_result() -> None:
    model = FakeModel()
    with running_engine() as engine, engine.reserved(1, WAIT_S) as reservation:
        [future] = engine.submit(reservation, model, [work("answer", phases=("encode", "prefill", "decode", "decode"))])
        assert future.result(WAIT_S) == "answer"
    assert phases_of(model) == ["encode", "prefill", "decode", "decode"]


def test_waiting_works_of_one_phase_share_a_step() -> None:
    model = FakeModel()
    with running_engine() as engine:
        held(model, engine)
        reservations = [engine.reserve(1, WAIT_S) for _ in range(5)]
        futures = [engine.submit(reservation, model, [work(i)])[0] for i, reservation in enumerate(reservations)]
        model.open.set()
        assert [future.result(WAIT_S) for future in futures] == [0, 1, 2, 3, 4]
    assert [len(step) for step in model.steps] == [1, 5]


def test_a_step_never_holds_two_phases_or_two_models() -> None:
    first, second = FakeModel(), FakeModel()
    with running_engine() as engine, engine.reserved(10, WAIT_S) as reservation:
        held(first, engine)
        futures = [
            *engine.submit(reservation, first, [work(phases=("encode", "score")), work(phases=("score",))]),
            *engine.submit(reservation, second, [work(phases=("score",)), work(phases=("encode",))]),
        ]
        first.open.set()
        for future in futures:
            future.result(WAIT_S)
    for model in (first, second):
        for step in model.steps:
            assert len({phase for phase, _, _ in step}) == 1
    assert sum(len(step) for step in second.steps) == 2


def test_no_step_exceeds_its_cost() -> None:
    model = FakeModel()
    with running_engine(max_step_cost=160) as engine, engine.reserved(100, WAIT_S) as reservation:
        held(model, engine)
        costs = [40, 50, 128, 1, 60, 70, 3, 127, 90, 38] * 3
        futures = engine.submit(reservation, model, [work(cost=cost) for cost in costs])
        model.open.set()
        for future in futures:
            future.result(WAIT_S)
    sums = [sum(cost for _, cost, _ in step) for step in model.steps]
    assert max(sums) <= 160
    assert sum(sums) == 1 + sum(costs)


def test_a_work_too_large_for_a_step_is_refused_at_once() -> None:
    with (
        running_engine(max_step_cost=160) as engine,
        engine.reserved(1, WAIT_S) as reservation,
        pytest.raises(ValueError, match="must fit"),
    ):
        engine.submit(reservation, FakeModel(), [work(cost=161)])


def test_works_of_like_length_go_together() -> None:
    model = FakeModel()
    lengths = [5, 90, 7, 80, 6, 85]
    with running_engine(max_step_cost=160) as engine:
        held(model, engine)
        reservations = [engine.reserve(40, WAIT_S) for _ in lengths]
        futures = [
            engine.submit(reservation, model, [work(cost=50, length=length)])[0]
            for reservation, length in zip(reservations, lengths, strict=True)
        ]
        model.open.set()
        for future in futures:
            future.result(WAIT_S)
    assert [sorted(length for _, _, length in step) for step in model.steps[1:]] == [[5, 6, 7], [80, 85, 90]]


def test_models_take_turns() -> None:
    order: list[str] = []
    busy = FakeModel(on_launch=lambda works: order.append("busy"))
    other = FakeModel(on_launch=lambda works: order.append("other"))
    with running_engine(max_step_cost=160) as engine, engine.reserved(999, WAIT_S) as reservation:
        held(busy, engine)
        futures = [
            *engine.submit(reservation, busy, [work(cost=160) for _ in range(6)]),
            *engine.submit(reservation, other, [work(cost=160) for _ in range(2)]),
        ]
        busy.open.set()
        for future in futures:
            future.result(WAIT_S)
    assert order == ["busy", "busy", "other", "busy", "other", "busy", "busy", "busy", "busy"]


def test_decode_steps_interleave_with_the_rest() -> None:
    model = FakeModel()
    with running_engine(max_step_cost=160) as engine:
        held(model, engine)
        generating = engine.submit(engine.reserve(1, WAIT_S), model, [work(phases=("decode",) * 4)])
        scoring = engine.submit(engine.reserve(999, WAIT_S), model, [work(cost=160) for _ in range(4)])
        model.open.set()
        for future in [*generating, *scoring]:
            future.result(WAIT_S)
    assert phases_of(model)[1:] == ["decode", "score"] * 4


def test_a_small_request_is_answered_before_a_large_one_beside_it() -> None:
    model = FakeModel()
    with running_engine(max_step_cost=160) as engine:
        held(model, engine)
        large = engine.submit(
            engine.reserve(9999, WAIT_S), model, [work(phases=("encode", "score"), cost=64) for _ in range(40)]
        )
        (small,) = engine.submit(engine.reserve(1, WAIT_S), model, [work(phases=("encode", "score"), cost=1)])
        steps_until_small: list[int] = []
        small.add_done_callback(lambda _: steps_until_small.append(len(model.steps)))
        model.open.set()
        for future in [small, *large]:
            future.result(WAIT_S)
    assert steps_until_small[0] <= 8
    assert len(model.steps) >= 40


def test_a_full_queue_refuses_before_any_work() -> None:
    model = FakeModel()
    with running_engine(max_queue_cost=10) as engine:
        with engine.reserved(8, WAIT_S):
            with pytest.raises(Overloaded) as refused:
                engine.reserve(3, WAIT_S)
            assert refused.value.retry_after is not None
            with engine.reserved(2, WAIT_S):
                pass
        with engine.reserved(10, WAIT_S) as reservation:
            assert engine.submit(reservation, model, [work()])[0].result(WAIT_S) == "done"


def test_a_cancelled_work_reaches_no_further_step() -> None:
    model = FakeModel()
    with running_engine() as engine:
        held(model, engine)
        reservation = engine.reserve(2, WAIT_S)
        queued = engine.submit(reservation, model, [work(phases=("cancelled",)), work(phases=("cancelled",))])
        engine.close(reservation)
        model.open.set()
        with engine.reserved(1, WAIT_S) as after:
            engine.submit(after, model, [work()])[0].result(WAIT_S)
    assert all(future.cancelled() for future in queued)
    assert "cancelled" not in phases_of(model)


def test_a_work_cancelled_on_the_device_reaches_no_further_step() -> None:
    model = FakeModel()
    with running_engine() as engine:
        model.open.clear()
        with engine.reserved(1, WAIT_S) as reservation:
            [future] = engine.submit(reservation, model, [work(phases=("encode", "cancelled"))])
            wait_until(lambda: bool(model.steps))
        model.open.set()
        with engine.reserved(1, WAIT_S) as after:
            engine.submit(after, model, [work()])[0].result(WAIT_S)
    assert future.cancelled()
    assert phases_of(model) == ["encode", "score"]


def test_an_expired_work_reaches_no_further_step_and_says_so() -> None:
    model = FakeModel()
    with running_engine() as engine:
        held(model, engine)
        [future] = engine.submit(engine.reserve(1, timeout=0.0), model, [work(phases=("expired",))])
        model.open.set()
        with pytest.raises(DeadlineExceeded):
            future.result(WAIT_S)
    assert "expired" not in phases_of(model)


def test_a_work_that_expires_between_phases_reaches_no_further_step() -> None:
    model = FakeModel()
    with running_engine() as engine:
        model.open.clear()
        reservation = engine.reserve(1, WAIT_S)
        [future] = engine.submit(reservation, model, [work(phases=("encode", "expired"))])
        wait_until(lambda: bool(model.steps))
        reservation.deadline = time.monotonic()
        model.open.set()
        with pytest.raises(DeadlineExceeded):
            future.result(WAIT_S)
    assert phases_of(model) == ["encode"]


def fails_on(phase: str, error: Exception) -> Callable[[Sequence[FakeWork]], None]:
    def on_launch(works: Sequence[FakeWork]) -> None:
        if works[0].phase == phase:
            raise error

    return on_launch


def test_a_failed_step_fails_its_own_works_only_and_the_thread_lives() -> None:
    model = FakeModel(on_launch=fails_on("broken", RuntimeError("the cause")))
    with running_engine() as engine, engine.reserved(9, WAIT_S) as reservation:
        broken = engine.submit(reservation, model, [work(phases=("broken",)), work(phases=("broken",))])
        sound = engine.submit(reservation, model, [work(), work(phases=("encode", "score"))])
        for future in broken:
            with pytest.raises(InternalError) as told:
                future.result(WAIT_S)
            assert "cause" not in told.value.message
        assert [future.result(WAIT_S) for future in sound] == ["done", "done"]
        assert engine.trouble() is None


def test_a_work_that_fails_alone_leaves_its_step_unharmed() -> None:
    model = FakeModel()
    failing = FakeWork(phase="score", cost=1, plan=deque([Failed(InternalError("no finite score"))]))
    with running_engine() as engine, engine.reserved(9, WAIT_S) as reservation:
        held(model, engine)
        futures = engine.submit(reservation, model, [work("first"), failing, work("last")])
        model.open.set()
        assert futures[0].result(WAIT_S) == "first"
        assert futures[2].result(WAIT_S) == "last"
        with pytest.raises(InternalError, match="no finite score"):
            futures[1].result(WAIT_S)
    assert len(model.steps[1]) == 3


def test_a_step_without_memory_is_split_and_tried_again() -> None:
    def too_large(works: Sequence[FakeWork]) -> None:
        if len(works) > 2:
            raise OutOfMemory("no memory")

    model = FakeModel(on_launch=too_large)
    with running_engine() as engine, engine.reserved(9, WAIT_S) as reservation:
        held(model, engine)
        futures = engine.submit(reservation, model, [work(i) for i in range(4)])
        model.open.set()
        assert [future.result(WAIT_S) for future in futures] == [0, 1, 2, 3]
    assert [len(step) for step in model.steps] == [1, 4, 2, 2]


def test_a_work_without_memory_fails_alone() -> None:
    def one_is_too_much(works: Sequence[FakeWork]) -> None:
        if any(each.length == 99 for each in works):
            raise OutOfMemory("no memory")

    model = FakeModel(on_launch=one_is_too_much)
    with running_engine() as engine, engine.reserved(9, WAIT_S) as reservation:
        held(model, engine)
        futures = engine.submit(reservation, model, [work(0), work(1), work(2), work(3, length=99)])
        model.open.set()
        assert [futures[i].result(WAIT_S) for i in range(3)] == [0, 1, 2]
        with pytest.raises(OutOfMemory):
            futures[3].result(WAIT_S)


def test_a_thread_that_dies_fails_every_waiter_at_once() -> None:
    def die(works: Sequence[FakeWork]) -> None:
        if works[0].phase == "fatal":
            raise SystemExit

    model = FakeModel(on_launch=die)
    with running_engine() as engine:
        held(model, engine)
        reservation = engine.reserve(9, WAIT_S)
        futures = engine.submit(
            reservation, model, [work(phases=("fatal",)), work(phases=("queued",)), work(phases=("queued",))]
        )
        model.open.set()
        for future in futures:
            with pytest.raises(Unavailable):
                future.result(WAIT_S)
        assert engine.dead
        assert engine.trouble() == "the device thread has died"
        with pytest.raises(Unavailable):
            engine.reserve(1, WAIT_S)
        with pytest.raises(Unavailable):
            engine.submit(reservation, model, [work()])


def test_slots_bound_the_works_under_way_and_come_back() -> None:
    model = FakeModel(slots=2)
    with running_engine() as engine, engine.reserved(9, WAIT_S) as reservation:
        held(model, engine)
        futures = engine.submit(
            reservation, model, [work(i, phases=("prefill", "decode", "decode"), slot=True) for i in range(5)]
        )
        model.open.set()
        assert [future.result(WAIT_S) for future in futures] == [0, 1, 2, 3, 4]
        wait_until(lambda: model.free_slots == 2)
    assert max(len(step) for step in model.steps) == 2


@pytest.mark.parametrize("end", ["cancelled", "failed", "expired"])
def test_a_slot_comes_back_however_its_work_ends(end: str) -> None:
    model = FakeModel(slots=1, on_launch=fails_on("failed", RuntimeError()))
    with running_engine() as engine:
        model.open.clear()
        with engine.reserved(1, WAIT_S) as reservation:
            engine.submit(reservation, model, [work(phases=("prefill", end, "decode"), slot=True)])
            wait_until(lambda: bool(model.steps))
            if end == "expired":
                reservation.deadline = time.monotonic()
            if end != "cancelled":
                model.open.set()
                wait_until(lambda: model.free_slots == 1)
        model.open.set()
        with engine.reserved(1, WAIT_S) as after:
            assert (
                engine.submit(after, model, [work(phases=("prefill", "decode"), slot=True)])[0].result(WAIT_S) == "done"
            )


@pytest.mark.parametrize("end", ["cancelled", "expired"])
def test_a_slot_given_up_in_the_queue_goes_to_who_waits_for_it(end: str) -> None:
    model, other = FakeModel(slots=1), FakeModel()
    model.open.clear()
    other.open.clear()
    with running_engine() as engine, engine.reserved(1, WAIT_S) as leaving, engine.reserved(1, WAIT_S) as waiting:
        engine.submit(leaving, model, [work(phases=("prefill", *["decode"] * 3), slot=True)])
        wait_until(lambda: bool(model.steps))
        [future] = engine.submit(waiting, model, [work(slot=True)])
        engine.submit(engine.reserve(1, WAIT_S), other, [work()])
        model.open.set()
        wait_until(lambda: bool(other.steps))
        if end == "expired":
            leaving.deadline = time.monotonic()
        else:
            engine.close(leaving)
        other.open.set()
        assert future.result(WAIT_S) == "done"


class Wide(FakeModel):
    """Works hold as many slots as they are long."""

    def admit(self, work: FakeWork) -> bool:
        if work.length > self.free_slots:
            return False
        self.free_slots -= work.length
        return True

    def release(self, work: FakeWork) -> None:
        self.free_slots += work.length


@pytest.mark.parametrize("phase", ["prefill", "encode"])
def test_a_work_that_needs_many_slots_is_not_overtaken_for_ever(phase: str) -> None:
    model = Wide(slots=3)
    ended: list[object] = []
    with running_engine() as engine, engine.reserved(1, WAIT_S) as reservation:
        model.open.clear()
        futures = engine.submit(
            reservation, model, [work(phases=("prefill", *["decode"] * i), length=1) for i in range(3)]
        )
        wait_until(lambda: bool(model.steps))
        wide = engine.submit(engine.reserve(1, WAIT_S), model, [work("wide", phases=(phase,), length=3)])
        narrow = [
            engine.submit(
                engine.reserve(1, WAIT_S), model, [work(i, phases=("prefill", *["decode"] * (1 + i % 3)), length=1)]
            )[0]
            for i in range(30)
        ]
        futures += wide + narrow
        for future in futures:
            future.add_done_callback(lambda done: ended.append(done.result()))
        model.open.set()
        for future in futures:
            future.result(WAIT_S)
        wait_until(lambda: len(ended) == 34)
    assert ended.index("wide") < 10


def test_stop_lets_admitted_requests_end() -> None:
    model = FakeModel()
    with running_engine() as engine:
        held(model, engine)
        reservation = engine.reserve(1, WAIT_S)
        [future] = engine.submit(reservation, model, [work(phases=("encode", "score"))])
        stopper = threading.Thread(target=engine.stop, args=(WAIT_S,))
        stopper.start()
        wait_until(lambda: engine.trouble() == "draining")
        with pytest.raises(Unavailable):
            engine.reserve(1, WAIT_S)
        model.open.set()
        assert future.result(WAIT_S) == "done"
        engine.close(reservation)
        for owner in list(engine._admission.reserved):  # the one that `held` left open
            engine.close(owner)
        stopper.join(WAIT_S)
        assert not stopper.is_alive()


def test_stop_fails_what_does_not_end_in_time() -> None:
    model = FakeModel()
    with running_engine() as engine:
        held(model, engine)
        futures = engine.submit(engine.reserve(9, WAIT_S), model, [work(), work(phases=("encode", "score"))])
        model.open.set()
        model.open.clear()
        engine.stop(drain_s=0.0)
        for future in futures:
            assert isinstance(future.exception(WAIT_S), Unavailable | CancelledError)
        model.open.set()


def test_an_engine_that_stops_sees_off_those_that_left_its_queue() -> None:
    model = FakeModel()
    with running_engine() as engine:
        held(model, engine)
        with engine.reserved(1, WAIT_S) as reservation:
            engine.submit(reservation, model, [work()])
        stopper = threading.Thread(target=engine.stop, args=(0.0,))
        stopper.start()
        wait_until(lambda: engine._stopping)
        assert reservation.tickets
        model.open.set()
        stopper.join(WAIT_S)
        assert not reservation.tickets


def test_a_step_waits_for_works_that_are_being_prepared() -> None:
    model = FakeModel()
    with running_engine(max_wait_ms=WAIT_S * 1000) as engine:
        reservation, other = engine.reserve(1, WAIT_S), engine.reserve(1, WAIT_S)
        with engine.preparing(other):
            [first] = engine.submit(reservation, model, [work("first")])
            [second] = engine.submit(other, model, [work("second")])
        assert {first.result(WAIT_S), second.result(WAIT_S)} == {"first", "second"}
    assert [len(step) for step in model.steps] == [2]


def test_a_step_does_not_wait_when_nothing_is_coming() -> None:
    model = FakeModel()
    with running_engine(max_wait_ms=WAIT_S * 2000) as engine, engine.reserved(1, WAIT_S) as reservation:
        assert engine.submit(reservation, model, [work()])[0].result(WAIT_S) == "done"


def test_a_full_step_does_not_wait_for_company() -> None:
    model = FakeModel()
    with (
        running_engine(max_step_cost=160, max_wait_ms=WAIT_S * 2000) as engine,
        engine.reserved(1, WAIT_S) as reservation,
        engine.preparing(reservation),
    ):
        assert engine.submit(reservation, model, [work(cost=160)])[0].result(WAIT_S) == "done"


def test_a_work_under_way_does_not_wait_for_company() -> None:
    model = FakeModel()
    with running_engine(max_wait_ms=WAIT_S * 2000) as engine, engine.reserved(1, WAIT_S) as reservation:
        model.open.clear()
        (future,) = engine.submit(reservation, model, [work(phases=("encode", "score"))])
        wait_until(lambda: bool(model.steps))
        with engine.preparing(reservation):
            model.open.set()
            assert future.result(WAIT_S) == "done"


def test_pieces_are_delivered_in_order_before_the_result() -> None:
    model, seen = FakeModel(), list[Piece | str]()
    pieces = [Piece(0, text) for text in "abc"]
    plan: deque[Outcome] = deque([Progress("decode", 1, (pieces[0],)), Done("done", (pieces[1], pieces[2]))])
    with running_engine() as engine, engine.reserved(1, WAIT_S) as reservation:
        (future,) = engine.submit(reservation, model, [FakeWork(phase="decode", cost=1, plan=plan)], seen.append)
        future.add_done_callback(lambda done: seen.append(str(done.result())))
        assert future.result(WAIT_S) == "done"
        wait_until(lambda: len(seen) == 4)
    assert seen == [*pieces, "done"]


def test_pieces_stop_for_whoever_left() -> None:
    model, seen = FakeModel(), list[Piece]()
    plan: deque[Outcome] = deque([Progress("decode", 1, (Piece(0, "a"),)), Done("done", (Piece(0, "b"),))])
    with running_engine() as engine:
        model.open.clear()
        with engine.reserved(1, WAIT_S) as reservation:
            engine.submit(reservation, model, [FakeWork(phase="decode", cost=1, plan=plan)], seen.append)
            wait_until(lambda: bool(model.steps))
        model.open.set()
        with engine.reserved(1, WAIT_S) as reservation:
            assert engine.submit(reservation, model, [work()])[0].result(WAIT_S) == "done"
    assert (seen, len(model.steps)) == ([], 2)


def test_a_work_with_a_slot_goes_before_those_of_its_request_that_wait_for_one() -> None:
    model = FakeModel(slots=1)
    with running_engine() as engine, engine.reserved(2, WAIT_S) as reservation:
        futures = engine.submit(
            reservation, model, [work(i, phases=("encode", "encode", "score"), slot=True) for i in range(3)]
        )
        assert [future.result(WAIT_S) for future in futures] == [0, 1, 2]
    assert model.free_slots == 1


def test_company_that_never_comes_delays_a_step_by_max_wait_only() -> None:
    model = FakeModel()
    with (
        running_engine(max_wait_ms=1) as engine,
        engine.reserved(1, WAIT_S) as reservation,
        engine.preparing(reservation),
    ):
        assert engine.submit(reservation, model, [work()])[0].result(WAIT_S) == "done"


def test_a_device_that_runs_behind_has_two_launches_under_way() -> None:
    order: list[str] = []

    class Noting(FakeModel):
        def collect(self, launched: Sequence[FakeWork]) -> list[Outcome]:
            order.append(f"collect {launched[0].phase}")
            return super().collect(launched)

    model = Noting(depth=2, on_launch=lambda works: order.append(f"launch {works[0].phase}"))
    with running_engine() as engine, engine.reserved(9, WAIT_S) as reservation:
        held(model, engine)
        futures = engine.submit(reservation, model, [work(phases=("a",)), work(phases=("b",))])
        model.open.set()
        for future in futures:
            future.result(WAIT_S)
    assert order[:4] == ["launch held", "launch a", "collect held", "launch b"]
    assert sorted(order[4:]) == ["collect a", "collect b"]


def test_a_step_that_takes_too_long_is_seen() -> None:
    model = FakeModel()
    with running_engine(stall_after_s=0.001) as engine:
        held(model, engine)
        wait_until(lambda: engine.trouble() == "the device makes no progress")
        model.open.set()
        wait_until(lambda: engine.trouble() is None)


def test_a_request_is_told_its_queue_and_device_time() -> None:
    model = FakeModel(step_seconds=0.01)
    with running_engine() as engine, engine.reserved(1, WAIT_S) as reservation:
        engine.submit(reservation, model, [work(phases=("encode", "score"))])[0].result(WAIT_S)
        assert reservation.device_seconds >= 0.02
        assert 0 < reservation.queue_seconds < WAIT_S


def test_a_phase_that_costs_more_than_a_step_fails_its_work_instead_of_waiting_for_ever() -> None:
    model = FakeModel()
    growing = FakeWork(phase="encode", cost=1, plan=deque([Progress("score", 161), Done(None)]))
    with running_engine(max_step_cost=160) as engine, engine.reserved(9, WAIT_S) as reservation:
        [future] = engine.submit(reservation, model, [growing])
        with pytest.raises(InternalError):
            future.result(WAIT_S)
        assert engine.submit(reservation, model, [work()])[0].result(WAIT_S) == "done"


def test_a_model_that_answers_for_too_few_works_fails_its_step_only() -> None:
    class Forgetful(FakeModel):
        def collect(self, launched: Sequence[FakeWork]) -> list[Outcome]:
            return super().collect(launched)[1:]

    sound = FakeModel()
    with running_engine() as engine, engine.reserved(9, WAIT_S) as reservation:
        [future] = engine.submit(reservation, Forgetful(), [work()])
        with pytest.raises(InternalError):
            future.result(WAIT_S)
        assert engine.submit(reservation, sound, [work()])[0].result(WAIT_S) == "done"


def test_a_model_that_cannot_admit_fails_that_work_only() -> None:
    class Broken(FakeModel):
        def admit(self, work: FakeWork) -> bool:
            raise RuntimeError("no slot")

    with running_engine() as engine, engine.reserved(9, WAIT_S) as reservation:
        [future] = engine.submit(reservation, Broken(), [work()])
        with pytest.raises(InternalError) as told:
            future.result(WAIT_S)
        assert "slot" not in told.value.message
        assert engine.submit(reservation, FakeModel(), [work()])[0].result(WAIT_S) == "done"


def test_a_lost_device_ends_the_engine() -> None:
    model = FakeModel(on_launch=fails_on("fatal", DeviceLost("no more")))
    with running_engine() as engine, engine.reserved(9, WAIT_S) as reservation:
        futures = engine.submit(reservation, model, [work(phases=("fatal",)), work(phases=("other",))])
        for future in futures:
            with pytest.raises(Unavailable):
                future.result(WAIT_S)
        wait_until(lambda: engine.dead)


class Lost(FakeModel):
    """Finds its device lost in one call."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self._call = call

    def enter(self, call: Call) -> None:
        if call == self._call:
            raise DeviceLost("no more")


@pytest.mark.parametrize("call", CALLS)
def test_a_device_lost_in_any_call_ends_the_engine_and_is_told_to_every_waiter(call: Call) -> None:
    with running_engine() as engine, engine.reserved(9, WAIT_S) as reservation:
        futures = engine.submit(reservation, Lost(call), [work(), work(phases=("other",))])
        for future in futures:
            assert isinstance(future.exception(WAIT_S), Unavailable)
        wait_until(lambda: engine.dead)
        with pytest.raises(Unavailable):
            engine.reserve(1, WAIT_S)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("call", CALLS)
def test_nobody_waits_for_a_device_that_hangs(call: Call, depth: int) -> None:
    """Whoever did would hang here, and fail by the time that threads are waited for."""
    model = FakeModel(held=call, depth=depth)
    with running_engine(stall_after_s=0.01) as engine:
        model.open.clear()
        try:
            stuck = engine.reserve(1, WAIT_S)
            [future] = engine.submit(stuck, model, [work()])
            wait_until(lambda: engine.trouble() == "the device makes no progress")
            in_time(
                lambda: engine.submit(engine.reserve(1, WAIT_S), model, [work()]),
                lambda: engine._expect("interactive", 0),
                engine.lost,
                lambda: engine.close(stuck),
            )
            assert future.cancelled()
        finally:
            model.open.set()


def in_time(*calls: Callable[[], object]) -> None:
    """Makes calls on another thread, and does not wait for ever."""
    done: list[object] = []
    thread = threading.Thread(target=lambda: done.extend(call() for call in calls), daemon=True)
    thread.start()
    thread.join(WAIT_S)
    assert len(done) == len(calls)


def test_a_device_that_hangs_for_too_long_is_given_up_and_its_waiters_are_failed() -> None:
    model = FakeModel()
    before = threading.enumerate()
    with running_engine(stall_after_s=0.01, exit_after_s=0.05) as engine:
        [device] = set(threading.enumerate()) - set(before)
        held(model, engine)
        reservation = engine.reserve(9, WAIT_S)
        [future] = engine.submit(reservation, model, [work()])
        wait_until(engine.lost)
        with pytest.raises(Unavailable):
            future.result(WAIT_S)
        with pytest.raises(Unavailable):
            engine.reserve(1, WAIT_S)
        launched = len(model.steps)
        model.open.set()  # too late: the thread ends
        device.join(WAIT_S)
        assert not device.is_alive()
        assert len(model.steps) == launched


def test_a_device_that_works_is_not_lost() -> None:
    model = FakeModel(step_seconds=0.01)
    with running_engine(stall_after_s=5, exit_after_s=10) as engine, engine.reserved(9, WAIT_S) as reservation:
        for future in engine.submit(reservation, model, [work() for _ in range(3)]):
            assert future.result(WAIT_S) == "done"
        assert not engine.lost()


def test_an_error_holds_no_frame_of_the_device_thread() -> None:
    model = FakeModel(on_launch=fails_on("broken", OutOfMemory("no memory")))
    with running_engine() as engine, engine.reserved(9, WAIT_S) as reservation:
        [future] = engine.submit(reservation, model, [work(phases=("broken",))])
        error = future.exception(WAIT_S)
        assert isinstance(error, OutOfMemory)
        assert (error.__traceback__, error.__cause__, error.__context__) == (None, None, None)


def test_two_launches_under_way_do_not_count_twice() -> None:
    model = FakeModel(depth=2, step_seconds=0.02)
    with running_engine(max_step_cost=160) as engine, engine.reserved(999, WAIT_S) as reservation:
        started = time.monotonic()
        for future in engine.submit(reservation, model, [work(cost=160) for _ in range(5)]):
            future.result(WAIT_S)
        assert reservation.device_seconds <= time.monotonic() - started
