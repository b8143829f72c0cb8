"""Tickets without an engine, for what needs no thread."""

import math
from collections.abc import Sequence

from blip_serve.domain import WorkClass
from blip_serve.engine.reservation import Reservation, Ticket
from blip_serve.engine.scheduler import Scheduler
from blip_serve.models.fake import FakeModel
from blip_serve.settings import EngineSettings
from tests.support.engine import work


def scheduler(**settings: float) -> Scheduler:
    """One of an engine with these settings, that asks a ticket's model for its slot."""
    return Scheduler(EngineSettings.model_validate(settings), Ticket.take_slot)


def queued(
    queue: Scheduler, model: FakeModel, work_class: WorkClass, *costs: int, slot: bool = False, phase: str = "score"
) -> list[Ticket]:
    """A ticket for each of `costs`, all of one request, put into `queue`."""
    owner = Reservation(1, math.inf, work_class)
    tickets = [Ticket(work(phases=(phase,), cost=cost, slot=slot), model, owner) for cost in costs]
    for ticket in tickets:
        queue.put(ticket)
    return tickets


def classes(steps: Sequence[Sequence[Ticket]]) -> str:
    """The class of each step's tickets: `i` or `b`; `-` where there are none."""
    letters = ["".join(sorted({ticket.owner.work_class[0] for ticket in step})) or "-" for step in steps]
    assert all(len(letter) == 1 for letter in letters)
    return "".join(letters)


def costs(tickets: Sequence[Ticket]) -> list[int]:
    """What the tickets' next steps cost."""
    return [ticket.work.cost for ticket in tickets]
