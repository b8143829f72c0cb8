"""Finds a model by name or by what it must do, and lends it out (a lease). Has it loaded if needed."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from blip_serve.catalogue import ModelCard
from blip_serve.directory import Directory
from blip_serve.domain import ANYONE, AnyModel, Caller, ScoringProtocol, Task
from blip_serve.engine.engine import Engine
from blip_serve.errors import Conflict
from blip_serve.loading import Loader
from blip_serve.resident import Resident
from blip_serve.residents import Residents
from blip_serve.settings import Settings
from blip_serve.telemetry import Telemetry

RETRY_FAILED_S = 30.0
"""After a load failed, a request starts another try no sooner than this."""
BUSY_RETRY_S = 1


@dataclass(frozen=True, slots=True)
class Lease:
    """A model that stays loaded while this is held. `card`: its complete card.

    `name`: what answers call the model. It is the `id`, unless the model is `plain` (see `Named`).
    """

    id: str
    name: str
    model: AnyModel
    protocol: ScoringProtocol
    card: ModelCard
    plain: bool


class Registry:
    """Leases models. Lives on the event loop. A model that is leased is not unloaded."""

    def __init__(self, settings: Settings, engine: Engine, telemetry: Telemetry, loader: Loader) -> None:
        self.directory = Directory(settings, Resident)
        self._residents = Residents(settings, engine, telemetry, loader, self.directory.entries.values())

    def preload(self) -> None:
        """Starts loading the models that the settings say to preload."""
        for entry in self.directory.entries.values():
            if entry.pinned:
                self._residents.load(entry)

    async def close(self) -> None:
        """Gives up all loads."""
        await self._residents.close()

    @asynccontextmanager
    async def lease(
        self, name: str | None, tasks: Sequence[Task], deadline: float, caller: Caller = ANYONE
    ) -> AsyncIterator[Lease]:
        """A running model for one of `tasks`. Loads it first if needed. `deadline`: in monotonic seconds.

        Raises what `Directory.choose` raises, and `Unavailable` if the model, or what of it only these tasks need,
        failed to load, can never fit into the budget, or is not loaded by the deadline.
        """
        found = self.directory.choose(name, tasks, caller)
        entry = found.model
        with self._leased(entry):
            model = entry.model or await self._await_load(entry, deadline)
            found.check_task(model.tasks, tasks, caller)
            await self._await_part(entry, model, tasks, deadline)
            yield Lease(entry.settings.id, found.id, model, entry.settings.protocol, entry.card, found.plain)

    async def load(self, name: str, deadline: float, caller: Caller = ANYONE) -> None:
        """Loads a model, and waits for that until `deadline`. Tries again at once where the last load failed.

        Raises what `Directory.status` raises, and `Unavailable` as `lease` does.
        """
        entry = self.directory.find(name, caller).model
        with self._leased(entry):
            if entry.load is None:
                entry.last_tried = -math.inf
            await self._await_load(entry, deadline)

    async def unload(self, name: str, caller: Caller = ANYONE) -> None:
        """Unloads a model, and waits until its memory is given back.

        Raises what `Directory.status` raises, and `Conflict` for a model that is preloaded or in use.
        """
        entry = self.directory.find(name, caller).model
        if entry.pinned:
            raise Conflict(
                f"The model '{entry.settings.id}' is preloaded: it stays loaded as long as the service runs.",
                code="model_pinned",
            )
        if entry.leases or entry.load or entry.part:
            raise Conflict(
                f"The model '{entry.settings.id}' is in use: try again when its requests are answered.",
                code="model_in_use",
                retry_after=BUSY_RETRY_S,
            )
        if entry.model is not None:
            self._residents.unload(entry)
        if entry.leaving is not None:
            await asyncio.shield(entry.leaving)

    @contextmanager
    def _leased(self, entry: Resident) -> Iterator[None]:
        """Counts a lease. It is taken before the load, so that nothing unloads the model between load and use."""
        entry.leases += 1
        try:
            yield
        finally:
            entry.leases -= 1
            entry.last_used = time.monotonic()
            if not entry.leases:
                self._residents.left(entry)

    async def _await_load(self, entry: Resident, deadline: float) -> AnyModel:
        while entry.model is None:
            load = entry.load or self._retry(entry)
            done, _ = await asyncio.wait([load], timeout=max(0.0, deadline - time.monotonic()))
            if not done:
                raise entry.loading()
        return entry.model

    async def _await_part(self, entry: Resident, model: AnyModel, tasks: Sequence[Task], deadline: float) -> None:
        """Waits until all is loaded that only these tasks need of the model: all who wait share one load.

        It has a thread of its own, so that a slow disk holds no thread that other requests need.
        """
        while (load := model.missing(tasks)) is not None:
            part = entry.part
            if part is None:
                if entry.late or time.monotonic() - entry.part_failed < RETRY_FAILED_S:
                    raise entry.part_load_failed()
                part = self._residents.load_part(entry, load)
            done, _ = await asyncio.wait([part], timeout=max(0.0, deadline - time.monotonic()))
            if not done:
                raise entry.loading()

    def _retry(self, entry: Resident) -> "asyncio.Task[None]":
        """Starts a load. Raises `Unavailable` if the last one failed a moment ago or still hangs."""
        if entry.late or (entry.state == "failed" and time.monotonic() - entry.last_tried < RETRY_FAILED_S):
            raise entry.load_failed()
        return self._residents.load(entry)
