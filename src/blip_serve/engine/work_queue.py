"""The queued works of one class, and which of them make a step together. Knows no thread and no lock.

Models take turns, then a model's phases, then a phase's requests (reservations), so that a request of thousands of
works delays a small one by a step, not by its whole length.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from blip_serve.domain import AnyModel
from blip_serve.engine.reservation import Reservation, Ticket


class PhaseQueue:
    """Tickets of one model and one phase, by request; first come, first served within a request."""

    def __init__(self) -> None:
        self._requests: OrderedDict[Reservation, deque[Ticket]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._requests)

    def put(self, ticket: Ticket) -> None:
        """Queues a ticket behind its request's others; an admitted one goes before those that may wait for a slot."""
        tickets = self._requests.setdefault(ticket.owner, deque())
        if ticket.admitted:
            tickets.insert(next((i for i, other in enumerate(tickets) if not other.admitted), len(tickets)), ticket)
        else:
            tickets.append(ticket)

    def holds_memory(self) -> bool:
        """Whether the next ticket had a step but holds no slot. It keeps that step's result in memory until it ends."""
        ticket = next(iter(self._requests.values()))[0]
        return ticket.begun and not ticket.work.slot_count

    def discard(self, owner: Reservation) -> Sequence[Ticket]:
        """Removes a request's tickets and returns them."""
        return self._requests.pop(owner, ())

    def take(self, budget: int, dropped: list[Ticket], take_slot: Callable[[Ticket], bool]) -> list[Ticket]:
        """Tickets of one step: the next in turn, then those nearest to it in length, together within `budget`.

        The first may cost more than the budget; then it is alone. Tickets that have ended go to `dropped` instead.
        Those that `take_slot` refuses stay.
        """
        batch: list[Ticket] = []
        owners = list(self._requests)
        while owners := self._nearest_first(owners, dropped):
            again = []
            for owner in owners:
                head = self._requests[owner][0]
                if (head.work.cost <= budget or not batch) and take_slot(head):
                    budget -= head.work.cost
                    batch.append(head)
                    again.append(owner)
                    self._requests[owner].popleft()
                    self._requests.move_to_end(owner)
                elif head.ended():  # its admission failed: what is behind it comes next
                    again.append(owner)
            owners = again
        return batch

    def _nearest_first(self, owners: list[Reservation], dropped: list[Ticket]) -> list[Reservation]:
        """Of `owners`, those with a live ticket, ordered by how near its length is to the first one's."""
        waiting = [owner for owner in owners if self._drop_ended(self._requests[owner], dropped)]
        for owner in owners:
            if not self._requests[owner]:
                del self._requests[owner]
        if not waiting:
            return []
        length = self._requests[waiting[0]][0].work.length
        return sorted(waiting, key=lambda owner: abs(self._requests[owner][0].work.length - length))

    @staticmethod
    def _drop_ended(tickets: deque[Ticket], dropped: list[Ticket]) -> bool:
        while tickets and tickets[0].ended():
            dropped.append(tickets.popleft())
        return bool(tickets)


class WorkQueue:
    """All queued tickets of one class: `count` of them, of which `begun` had a step. `cost`: of all their next steps.

    `slotless`: for each model, the ticket that found no slot and is the next to get one. `take_slot`: takes the slots
    of a ticket's work, and says whether it has them. `end_first`: run phases whose works hold memory first. With small
    steps, early phases could otherwise make works faster than late phases finish them.
    """

    def __init__(self, take_slot: Callable[[Ticket], bool], end_first: bool = False) -> None:
        self._take_slot = take_slot
        self._end_first = end_first
        self._models: OrderedDict[AnyModel, OrderedDict[str, PhaseQueue]] = OrderedDict()
        self.slotless: dict[AnyModel, Ticket] = {}
        self.count = 0
        self.cost = 0
        self.begun = 0

    def put(self, ticket: Ticket) -> None:
        """Queues a ticket for its work's phase."""
        phases = self._models.setdefault(ticket.model, OrderedDict())
        phases.setdefault(ticket.work.phase, PhaseQueue()).put(ticket)
        self.count += 1
        self.cost += ticket.work.cost
        self.begun += ticket.begun

    def take(self, budget: int, dropped: list[Ticket]) -> list[Ticket]:
        """Tickets of the next step, all of one model and one phase, as `PhaseQueue.take`; empty where none can run."""
        batch: list[Ticket] = []
        ended: list[Ticket] = []
        for model, phase in [(model, phase) for model, phases in self._models.items() for phase in self._order(phases)]:
            batch = self._models[model][phase].take(budget, ended, self._has_slot)
            if batch:
                self._models[model].move_to_end(phase)
                self._models.move_to_end(model)
                break
        self._settle([*batch, *ended])
        dropped += ended
        return batch

    def _order(self, phases: Mapping[str, PhaseQueue]) -> Iterable[str]:
        if self._end_first and len(phases) > 1:
            return sorted(phases, key=lambda phase: not phases[phase].holds_memory())
        return phases

    def _has_slot(self, ticket: Ticket) -> bool:
        """A ticket that found too few slots goes before all others of its model: it may need several at once."""
        if ticket.admitted:
            return True
        first = self.slotless.get(ticket.model, ticket)
        if first is ticket and self._take_slot(ticket):
            self.slotless.pop(ticket.model, None)
            return True
        if not ticket.ended():
            self.slotless[ticket.model] = first
        return False

    def discard(self, owner: Reservation) -> list[Ticket]:
        """Removes a request's tickets and returns them."""
        queues = [queue for phases in self._models.values() for queue in phases.values()]
        removed = [ticket for queue in queues for ticket in queue.discard(owner)]
        self._settle(removed)
        return removed

    def _settle(self, removed: list[Ticket]) -> None:
        self.count -= len(removed)
        self.cost -= sum(ticket.work.cost for ticket in removed)
        self.begun -= sum(ticket.begun for ticket in removed)
        for ticket in removed:
            if self.slotless.get(ticket.model) is ticket:
                del self.slotless[ticket.model]
        for model, phases in list(self._models.items()):
            for phase in [phase for phase, queue in phases.items() if not queue]:
                del phases[phase]
            if not phases:
                del self._models[model]
