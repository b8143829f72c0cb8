"""Which works the scheduler takes: the two classes, their steps' sizes, and their slots. No thread runs here."""

import pytest

from blip_serve.domain import IMAGE_COST
from blip_serve.engine.reservation import Ticket
from blip_serve.engine.scheduler import Scheduler
from blip_serve.models.fake import FakeModel
from tests.support.scheduling import classes, costs, queued, scheduler

MODEL = FakeModel()


def steps(queue: Scheduler, count: int) -> list[list[Ticket]]:
    return [queue.take()[0] for _ in range(count)]


def test_background_works_run_when_no_interactive_one_waits() -> None:
    queue = scheduler(background_share=0)
    queued(queue, MODEL, "background", 1, 1)
    queued(queue, MODEL, "interactive", *[100] * 9)
    assert classes(steps(queue, 5)) == "iiib-"


def test_the_classes_share_no_step() -> None:
    queue = scheduler()
    for _ in range(3):
        queued(queue, MODEL, "background", 1, 1)
        queued(queue, MODEL, "interactive", 1, 1)
    assert [len(step) for step in steps(queue, 3)] == [6, 6, 0]


@pytest.mark.parametrize("cost", [1, 30, 60, 150, 320])
@pytest.mark.parametrize("share", [0.02, 0.1])
def test_background_works_get_their_share_of_the_cost_while_interactive_ones_wait(share: float, cost: int) -> None:
    queue = scheduler(background_share=share, max_step_cost=320)
    spent = {"i": 0, "b": 0}
    while spent["b"] < 400:
        if not queue.interactive.count:
            queued(queue, MODEL, "interactive", cost)
        if not queue.background.count:
            queued(queue, MODEL, "background", *[10] * 8)
        [step] = steps(queue, 1)
        spent[classes([step])] += sum(costs(step))
    assert spent["b"] / (spent["b"] + spent["i"]) == pytest.approx(share, rel=0.15)


def test_no_share_is_so_large_that_two_background_steps_go_before_an_interactive_one() -> None:
    queue = scheduler(background_share=0.9)
    queued(queue, MODEL, "interactive", *[320] * 20)
    queued(queue, MODEL, "background", *[1] * 2000)
    taken = steps(queue, 30)
    assert "bb" not in classes(taken)
    assert classes(taken).count("b") > 9


def test_a_share_that_was_not_used_is_not_saved_up() -> None:
    queue = scheduler(background_share=0.5)
    queued(queue, MODEL, "background", 1)
    queued(queue, MODEL, "interactive", *[320] * 50)
    steps(queue, 40)
    queued(queue, MODEL, "background", *[40] * 50)
    assert "bb" not in classes(steps(queue, 10))


def test_background_works_that_run_between_interactive_ones_need_not_go_before_them() -> None:
    queue = scheduler(background_share=0.1)
    queued(queue, MODEL, "background", *[40] * 100)
    taken = []
    for _ in range(50):
        queued(queue, MODEL, "interactive", 320)
        taken += [queue.take(recent=True)[0] for _ in range(2)]
    assert classes(taken) == "ib" * 50


def test_a_background_step_is_an_image_while_interactive_works_are_recent_and_full_after_that() -> None:
    queue = scheduler()
    queued(queue, MODEL, "background", *[10] * 100)
    assert sum(costs(queue.take(recent=True)[0])) == IMAGE_COST
    assert sum(costs(queue.take(recent=False)[0])) == 320
    queued(queue, FakeModel(slots=0), "interactive", 1, slot=True)  # waits, however long
    assert sum(costs(queue.take(recent=False)[0])) == IMAGE_COST


def test_a_background_work_of_more_than_an_image_goes_alone_while_interactive_works_are_recent() -> None:
    queue = scheduler()
    queued(queue, MODEL, "background", 120)
    queued(queue, MODEL, "background", 1)
    queued(queue, MODEL, "background", 120)
    assert [costs(queue.take(recent=True)[0]) for _ in range(3)] == [[120], [1], [120]]


def test_no_second_background_step_goes_behind_another_while_interactive_works_are_recent() -> None:
    queue = scheduler()
    queued(queue, MODEL, "background", *[40] * 20)
    assert classes([queue.take(recent=True, running=["background"])[0]]) == "-"
    assert classes([queue.take(recent=False, running=["background"])[0]]) == "b"
    queued(queue, MODEL, "interactive", 1)
    assert classes([queue.take(recent=True, running=["background"])[0]]) == "i"


def test_an_interactive_step_on_the_device_counts_as_one_that_waits() -> None:
    queue = scheduler(background_share=0.5)
    queued(queue, MODEL, "background", *[40] * 20)
    assert classes([queue.take(recent=True, running=["interactive"])[0]]) == "-"
    queued(queue, MODEL, "interactive", 320)
    assert classes([queue.take(recent=True)[0]]) == "i"
    assert classes([queue.take(recent=True, running=["interactive"])[0] for _ in range(3)]) == "b--"


def test_models_and_requests_take_turns_within_the_background_class() -> None:
    queue, other = scheduler(), FakeModel()
    large = queued(queue, MODEL, "background", *[320] * 5)
    small = queued(queue, MODEL, "background", 320)
    second = queued(queue, other, "background", 320)
    taken = [step[0] for step in steps(queue, 3)]
    assert taken == [large[0], second[0], small[0]]


def test_background_works_that_hold_memory_end_before_others_begin() -> None:
    queue = scheduler()
    queued(queue, MODEL, "background", *[2] * 40, phase="read")
    read, ranked = 0, 0
    most = 0
    while queue.background.count:
        batch, _ = queue.take(recent=True)
        for ticket in batch:
            if ticket.begun:
                ranked += 1
            else:
                read += 1
                ticket.work.phase, ticket.work.cost, ticket.begun = "rank", 20, True
                queue.put(ticket)
        most = max(most, read - ranked)
    assert (read, ranked, most) == (40, 40, 20)


def test_background_sequences_let_others_begin() -> None:
    queue, model = scheduler(), FakeModel(slots=64)
    [ticket] = queued(queue, model, "background", 1, slot=True, phase="decode")
    queue.take()
    ticket.begun = True
    queue.put(ticket)
    queued(queue, model, "background", 40, phase="encode")
    assert [step[0].work.phase for step in steps(queue, 2)] == ["decode", "encode"]


def test_cost_and_those_begun_are_counted_for_each_class() -> None:
    queue = scheduler()
    first, second = queued(queue, MODEL, "interactive", 7, 8)
    queued(queue, MODEL, "background", 9)
    second.begun = True
    first.future.cancel()
    assert (queue.interactive.cost, queue.background.cost) == (15, 9)
    batch, dropped = queue.take()
    assert (batch, dropped) == ([second], [first])
    assert (queue.interactive.cost, queue.background.cost) == (0, 9)
    queue.take()
    assert (queue.interactive.cost, queue.background.cost, queue.background.count > 0) == (0, 0, False)


def test_works_that_ended_in_both_classes_are_dropped_once() -> None:
    queue = scheduler()
    [first] = queued(queue, MODEL, "interactive", 7)
    [second] = queued(queue, MODEL, "background", 9)
    first.future.cancel()
    second.future.cancel()
    assert queue.take() == ([], [first, second])
    assert (queue.interactive.cost, queue.background.cost) == (0, 0)


def test_what_leaves_is_discarded_from_its_class() -> None:
    queue = scheduler()
    tickets = queued(queue, MODEL, "background", 1, 1)
    queued(queue, MODEL, "interactive", 1)
    assert queue.discard(tickets[0].owner) == tickets
    assert (queue.interactive.count > 0, queue.background.count > 0) == (True, False)


# Slots


def holding(queue: Scheduler, model: FakeModel, count: int) -> list[Ticket]:
    """Background tickets, as many of `count` as get a slot, on the device."""
    queued(queue, model, "background", *[1] * count, slot=True, phase="decode")
    return queue.take()[0]


def test_background_works_leave_some_slots_to_interactive_ones() -> None:
    queue, model = scheduler(), FakeModel(slots=64)
    assert len(holding(queue, model, 100)) == 48
    assert model.free_slots == 16
    queued(queue, model, "interactive", *[1] * 16, slot=True)
    assert len(queue.take()[0]) == 16
    assert model.free_slots == 0


def test_a_slot_that_background_work_frees_goes_to_who_waits_for_it_first() -> None:
    queue, model = scheduler(), FakeModel(slots=16)
    running = holding(queue, model, 100)
    assert len(running) == 16
    queued(queue, model, "interactive", *[1] * 5, slot=True)
    assert queue.take()[0] == []
    for ticket in running[:3]:
        queue.free_slot(ticket)
    assert classes([taken := queue.take()[0]]) == "i"
    assert len(taken) == 3


@pytest.mark.parametrize(("share", "taken"), [(0.1, 6), (0, 0)])
def test_some_slots_are_the_background_s_while_interactive_works_wait_for_some(share: float, taken: int) -> None:
    queue, model = scheduler(background_share=share), FakeModel(slots=0)
    queued(queue, model, "interactive", *[1] * 9, slot=True)
    assert queue.take()[0] == []
    queued(queue, model, "background", *[1] * 40, slot=True)
    model.free_slots = 64
    queue.interactive.slotless[model].work.cost = 1000  # wants more than a step has: it stays
    batch = queue.background.take(320, [])
    assert len(batch) == taken


def test_slots_given_back_are_free_for_background_works_again() -> None:
    queue, model = scheduler(), FakeModel(slots=64)
    for ticket in holding(queue, model, 100):
        queue.free_slot(ticket)
    assert len(queue.take()[0]) == 48
    assert not queue.interactive.slotless
