"""What other threads leave for the device thread. Knows no model and no queue."""

import math
import threading
from dataclasses import dataclass, field

from blip_serve.domain import WorkClass
from blip_serve.engine.reservation import Reservation, Ticket


def _none_of_each() -> dict[WorkClass, int]:
    return {"interactive": 0, "background": 0}


@dataclass(eq=False, slots=True)
class Inbox:
    """New tickets and closed reservations since the device thread last looked.

    `changed` guards it and wakes that thread.

    No model is called while `changed` is held. A call may wait for the device, and a device may hang; whoever asks for
    room, leaves, or asks whether the device is lost must not wait for that.

    `preparing`: how many requests of each class are about to submit works. `interactive_seen`: when interactive works
    last arrived, or were on the device (monotonic seconds); a number that any thread writes without `changed`.
    """

    changed: threading.Condition = field(default_factory=threading.Condition)
    arrived: list[Ticket] = field(default_factory=list)
    left: list[Reservation] = field(default_factory=list)
    preparing: dict[WorkClass, int] = field(default_factory=_none_of_each)
    stopping: bool = False
    interactive_seen: float = -math.inf
