"""Which works go into the next step. Knows no thread and no lock: it is one thread's, the device's.

Turns are taken at three levels: models, the phases of a model, and the requests (reservations) of a phase, so that a
request of thousands of works delays a small one by a step, not by its whole length.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence

from blip_serve.domain import AnyModel
from blip_serve.engine.reservation import Reservation
from blip_serve.engine.ticket import Ticket


class Lane:
    """Tickets of one model and one phase, by request; first come, first served within a request."""

    def __init__(self) -> None:
        self._groups: OrderedDict[Reservation, deque[Ticket]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._groups)

    def put(self, ticket: Ticket) -> None:
        """Queues a ticket behind its request's others; one with a seat before those that may be waiting for it."""
        tickets = self._groups.setdefault(ticket.owner, deque())
        if ticket.seated:
            tickets.insert(next((i for i, other in enumerate(tickets) if not other.seated), len(tickets)), ticket)
        else:
            tickets.append(ticket)

    def discard(self, owner: Reservation) -> Sequence[Ticket]:
        """Removes a request's tickets and returns them."""
        return self._groups.pop(owner, ())

    def take(self, budget: int, dropped: list[Ticket], seat: Callable[[Ticket], bool]) -> list[Ticket]:
        """Tickets of one step, together within `budget`: the next in turn, then those nearest to it in length.

        Tickets met that have ended go to `dropped` instead; those that `seat` refuses stay.
        """
        batch: list[Ticket] = []
        owners = list(self._groups)
        while owners := self._nearest_first(owners, dropped):
            again = []
            for owner in owners:
                head = self._groups[owner][0]
                if head.work.cost <= budget and seat(head):
                    budget -= head.work.cost
                    batch.append(head)
                    again.append(owner)
                    self._groups[owner].popleft()
                    self._groups.move_to_end(owner)
                elif head.ended():  # its admission failed: what is behind it comes next
                    again.append(owner)
            owners = again
        return batch

    def _nearest_first(self, owners: list[Reservation], dropped: list[Ticket]) -> list[Reservation]:
        """Of `owners`, those with a live ticket, ordered by how near its length is to the first one's."""
        waiting = [owner for owner in owners if self._drop_ended(self._groups[owner], dropped)]
        for owner in owners:
            if not self._groups[owner]:
                del self._groups[owner]
        if not waiting:
            return []
        length = self._groups[waiting[0]][0].work.length
        return sorted(waiting, key=lambda owner: abs(self._groups[owner][0].work.length - length))

    @staticmethod
    def _drop_ended(tickets: deque[Ticket], dropped: list[Ticket]) -> bool:
        while tickets and tickets[0].ended():
            dropped.append(tickets.popleft())
        return bool(tickets)


class Lanes:
    """All queued tickets. `cost` is the sum of their next steps; `begun` of them had a step already.

    `seat`: whether the model holds what a ticket's work needs between its steps; asks for it the first time.
    """

    def __init__(self, seat: Callable[[Ticket], bool]) -> None:
        self._take_seat = seat
        self._models: OrderedDict[AnyModel, OrderedDict[str, Lane]] = OrderedDict()
        self._unseated: dict[AnyModel, Ticket] = {}
        self.cost = 0
        self.begun = 0

    def __bool__(self) -> bool:
        return bool(self._models)

    def put(self, ticket: Ticket) -> None:
        """Queues a ticket for its work's phase."""
        phases = self._models.setdefault(ticket.model, OrderedDict())
        phases.setdefault(ticket.work.phase, Lane()).put(ticket)
        self.cost += ticket.work.cost
        self.begun += ticket.begun

    def take(self, budget: int) -> tuple[list[Ticket], list[Ticket]]:
        """Tickets of the next step, all of one model and one phase, and tickets met that have ended."""
        dropped: list[Ticket] = []
        batch: list[Ticket] = []
        for model, phase in [(model, phase) for model, phases in self._models.items() for phase in phases]:
            batch = self._models[model][phase].take(budget, dropped, self._seat)
            if batch:
                self._models[model].move_to_end(phase)
                self._models.move_to_end(model)
                break
        self._settle([*batch, *dropped])
        return batch, dropped

    def _seat(self, ticket: Ticket) -> bool:
        """Whether it has a seat. Who found none comes before all others of the model: it may need several at once."""
        first = self._unseated.get(ticket.model, ticket)
        if ticket.seated or (first is ticket and self._take_seat(ticket)):
            return True
        if not ticket.ended():
            self._unseated[ticket.model] = first
        return False

    def discard(self, owner: Reservation) -> list[Ticket]:
        """Removes a request's tickets and returns them."""
        lanes = [lane for phases in self._models.values() for lane in phases.values()]
        removed = [ticket for lane in lanes for ticket in lane.discard(owner)]
        self._settle(removed)
        return removed

    def _settle(self, removed: list[Ticket]) -> None:
        self.cost -= sum(ticket.work.cost for ticket in removed)
        self.begun -= sum(ticket.begun for ticket in removed)
        for ticket in removed:
            if self._unseated.get(ticket.model) is ticket:
                del self._unseated[ticket.model]
        for model, phases in list(self._models.items()):
            for phase in [phase for phase, lane in phases.items() if not lane]:
                del phases[phase]
            if not phases:
                del self._models[model]
