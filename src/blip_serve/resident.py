"""One model that may be in memory: the state of its loading and use, and what is answered where it cannot be loaded."""

import asyncio
import math
from dataclasses import dataclass

from blip_serve.directory import Known
from blip_serve.domain import AnyModel
from blip_serve.errors import Unavailable


@dataclass(eq=False, slots=True)
class Resident(Known):
    """One model, and the state of its loading and use. `held`: bytes of the budget, from before a load on."""

    model: AnyModel | None = None
    leases: int = 0
    held: int = 0
    awaits_room: bool = False
    last_used: float = 0.0
    last_tried: float = -math.inf
    refusal: str | None = None  # why it can never fit, if it cannot
    load: "asyncio.Task[None] | None" = None
    late: "asyncio.Task[object] | None" = None  # a load that was given up and has not ended
    part: "asyncio.Task[None] | None" = None  # the load of what only some of the model's tasks need
    part_failed: float = -math.inf
    part_refusal: str | None = None
    leaving: "asyncio.Task[None] | None" = None  # from being unloaded until its memory is given back
    watch: "asyncio.Task[None] | None" = None  # unloads it when it is idle for long

    def load_failed(self) -> Unavailable:
        """The answer to a request for a model that could not be loaded, or can never fit."""
        return _no_memory(self.settings.id, self.refusal) if self.refusal else super(Resident, self).load_failed()

    def part_load_failed(self) -> Unavailable:
        """The answer to a request of a task that needs a part of the model which could not be loaded."""
        if self.part_refusal:
            return _no_memory(self.settings.id, self.part_refusal)
        return Unavailable(
            f"A part of the model '{self.settings.id}' that this task needs could not be loaded; the log says why.",
            code="load_failed",
        )

    @property
    def pinned(self) -> bool:
        """Whether it stays loaded."""
        return self.settings.preload

    @property
    def idle(self) -> bool:
        """Whether it may be unloaded."""
        return self.model is not None and not (self.pinned or self.leases or self.part)

    @property
    def is_leaving(self) -> bool:
        """Whether it was unloaded, and its memory is not given back yet."""
        return self.leaving is not None


def _no_memory(model: str, reason: str) -> Unavailable:
    return Unavailable(f"The model '{model}' cannot be loaded: {reason}.", code="insufficient_memory")
