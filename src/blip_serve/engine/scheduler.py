"""Which works go into the next step: interactive ones first. Knows no thread, no lock and no clock.

Only the device thread uses it. Works of the two classes never share a step.
"""

from collections import Counter
from collections.abc import Callable, Collection

from blip_serve.domain import IMAGE_COST, AnyModel, WorkClass
from blip_serve.engine.reservation import Reservation, Ticket
from blip_serve.engine.work_queue import WorkQueue
from blip_serve.settings import EngineSettings

MOST_CREDIT = 2 * IMAGE_COST
"""The most credit, as a cost, that background works can save up."""
KEPT_SLOTS = 1 / 4
"""The part of a model's slots that is kept for interactive works.

Slots are not taken back from a sequence under way. A background text of 512 tokens may hold its own for seconds.
"""


class Scheduler:
    """All queued tickets.

    A background step runs when no interactive work can, and none is on the device. Besides, while interactive works
    wait, background works get `background_share` of the cost of all steps. `_credit` is what is owed to them: an
    interactive step adds to it, a background step subtracts its cost. Background works that already ran in gaps are
    owed less. At most one background step goes ahead of waiting interactive works at a time.

    While interactive works are here, or were a moment ago, a background step costs at most an image, or is a single
    work, and no other one is on the device: an interactive work that comes waits for one small step only.

    `take_slot`: takes the slots of a ticket's work, and says whether it has them.
    """

    def __init__(self, settings: EngineSettings, take_slot: Callable[[Ticket], bool]) -> None:
        self.interactive = WorkQueue(take_slot)
        self.background = WorkQueue(self._take_background_slot, end_first=True)
        self._take_slot = take_slot
        self._max_step_cost = settings.max_step_cost
        self._earned = settings.background_share / (1 - settings.background_share)  # for a cost of 1 of the others'
        self._credit = 0.0
        self._had_turn = False  # whether a background step has gone first since the last interactive one
        self._background_slots = Counter[AnyModel]()
        self._max_slots = int(settings.max_sequences * (1 - KEPT_SLOTS))
        self._sure_slots = int(settings.max_sequences * settings.background_share)

    def put(self, ticket: Ticket) -> None:
        """Queues a ticket for its work's phase."""
        (self.interactive if ticket.owner.work_class == "interactive" else self.background).put(ticket)

    def discard(self, owner: Reservation) -> list[Ticket]:
        """Removes a request's tickets and returns them."""
        return (self.interactive if owner.work_class == "interactive" else self.background).discard(owner)

    def take(self, recent: bool = False, running: Collection[WorkClass] = ()) -> tuple[list[Ticket], list[Ticket]]:
        """Tickets of the next step, all of one class, model and phase, and tickets found to have ended.

        `recent`: whether interactive works were seen a moment ago. `running`: the classes of the steps on the device.
        """
        dropped: list[Ticket] = []
        waits = self.interactive.count > 0 or "interactive" in running  # one on the device is likely to go on
        small = waits or recent
        barred = small and "background" in running  # an interactive work would wait for two steps
        due = waits and self._credit >= IMAGE_COST and not self._had_turn
        if due and not barred and (batch := self.background.take(IMAGE_COST, dropped)):
            self._credit -= sum(ticket.work.cost for ticket in batch)
            self._had_turn = True
            return batch, dropped
        batch = self._take_interactive(dropped)
        if not batch and not barred and "interactive" not in running:
            batch = self.background.take(IMAGE_COST if small else self._max_step_cost, dropped)
            self._credit = max(0.0, self._credit - sum(ticket.work.cost for ticket in batch))
        return batch, dropped

    def _take_interactive(self, dropped: list[Ticket]) -> list[Ticket]:
        batch = self.interactive.take(self._max_step_cost, dropped)
        if batch:
            self._had_turn = False
            if self.background.count:
                cost = sum(ticket.work.cost for ticket in batch)
                self._credit = min(self._credit + cost * self._earned, MOST_CREDIT)
        return batch

    # Slots

    def _take_background_slot(self, ticket: Ticket) -> bool:
        """Takes slots for a background work.

        Some are kept for interactive works; a few stay for background works even while interactive ones wait for a
        slot.
        """
        needed = ticket.work.slot_count
        if not needed:
            return self._take_slot(ticket)
        held = self._background_slots[ticket.model]
        most = self._sure_slots if ticket.model in self.interactive.slotless else self._max_slots
        if (held and held + needed > most) or not most or not self._take_slot(ticket):
            return False
        self._background_slots[ticket.model] += needed
        return True

    def free_slot(self, ticket: Ticket) -> None:
        """Gives back what a ticket's work held, if it did."""
        if ticket.admitted and ticket.owner.work_class == "background" and ticket.work.slot_count:
            self._background_slots[ticket.model] -= ticket.work.slot_count
            if not self._background_slots[ticket.model]:
                del self._background_slots[ticket.model]  # it would keep the model alive
        ticket.free_slot()
