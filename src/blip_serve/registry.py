"""Model name and task to a lease on a running model: lazy load, state, room."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import get_args

from blip_serve.catalogue import ModelCard
from blip_serve.directory import Directory, Known, ModelStatus, State
from blip_serve.domain import ANYONE, AnyModel, Caller, ScoringProtocol, Task
from blip_serve.engine.engine import Engine
from blip_serve.errors import CheckpointError, ConfigurationError, DeviceLost
from blip_serve.loading import Loader
from blip_serve.settings import Settings
from blip_serve.telemetry import Telemetry
from blip_serve.threads import in_thread

RETRY_FAILED_S = 30.0
"""A request for a model that failed to load starts another try no sooner than this after the last."""
WARM_UP_S = 300.0


Loaded = tuple[AnyModel, ModelCard]


class LoadTimeout(Exception):
    """A load that took longer than `load_timeout_s`."""


@dataclass(eq=False, slots=True)
class Entry(Known):
    """One model, and what of it is here."""

    model: AnyModel | None = None
    leases: int = 0
    placed: bool = False  # takes one of the `max_loaded` places
    awaits_room: bool = False
    last_used: float = 0.0
    last_tried: float = -math.inf
    load: "asyncio.Task[None] | None" = None
    late: "asyncio.Task[Loaded] | None" = None  # its load was given up, and has not ended


@dataclass(frozen=True, slots=True)
class Lease:
    """A model that stays loaded while this is held; `card` is as complete as it gets.

    `name`: what it answers by; its `id`, but for a `plain` one (see `Named`).
    """

    id: str
    name: str
    model: AnyModel
    protocol: ScoringProtocol
    card: ModelCard
    plain: bool


class Registry:
    """The models by name. Lives on the event loop; loads run on threads, one at a time a model however many wait.

    A load that takes longer than `load_timeout_s` is given up: its model is failed, its place free, what comes of it
    thrown away. Until its thread ends, which nothing can make it do, it may hold memory: the model is not tried again.
    """

    def __init__(self, settings: Settings, engine: Engine, telemetry: Telemetry, load: Loader) -> None:
        self._engine = engine
        self._telemetry = telemetry
        self._load_model = load
        self._max_loaded = settings.max_loaded
        self._load_timeout = settings.load_timeout_s
        self._directory = Directory(settings, Entry)
        self._freed = asyncio.Condition()
        for entry in self._directory.entries.values():
            self._enter(entry, "unloaded")

    def preload(self) -> None:
        """Starts loading the models to be preloaded."""
        for entry in self._directory.entries.values():
            if entry.settings.preload:
                self._start_load(entry)

    async def close(self) -> None:
        """Gives up the loads under way."""
        entries = self._directory.entries.values()
        loads = [load for entry in entries for load in (entry.load, entry.late) if load is not None]
        for load in loads:
            load.cancel()
        await asyncio.gather(*loads, return_exceptions=True)

    def statuses(self, caller: Caller = ANYONE) -> list[ModelStatus]:
        """Every model the caller may use, in the configuration's order."""
        return self._directory.statuses(caller)

    def status(self, name: str, caller: Caller = ANYONE) -> ModelStatus:
        """One model by any of its names. Raises `ModelNotFound`, and `PermissionDenied`."""
        return self._directory.status(name, caller)

    def card(self, name: str | None, tasks: Sequence[Task], caller: Caller = ANYONE) -> ModelCard:
        """What is known of the model that `lease` would give. Raises what `Directory.choose` raises."""
        return self._directory.choose(name, tasks, caller).model.card

    def not_ready(self) -> list[str]:
        """Why the preloaded models are not all ready, a line each."""
        return self._directory.not_ready()

    @asynccontextmanager
    async def lease(
        self, name: str | None, tasks: Sequence[Task], deadline: float, caller: Caller = ANYONE
    ) -> AsyncIterator[Lease]:
        """A running model for one of `tasks`, loaded first if need be; `deadline` in monotonic seconds.

        Raises what `Directory.choose` raises, and `Unavailable` for one that failed to load or is not there by the
        deadline.
        """
        found = self._directory.choose(name, tasks, caller)
        entry = found.model
        entry.leases += 1  # before it is loaded: nothing may unload it between its load and its use
        try:
            model = entry.model or await self._await_load(entry, deadline)
            found.check_task(model.tasks, tasks)
            yield Lease(entry.settings.id, found.id, model, entry.settings.protocol, entry.card, found.plain)
        finally:
            entry.leases -= 1
            entry.last_used = time.monotonic()
            if entry.awaits_room and not entry.leases and entry.load is not None:
                entry.load.cancel()  # nobody waits for it any more
            async with self._freed:
                self._freed.notify_all()

    async def _await_load(self, entry: Entry, deadline: float) -> AnyModel:
        while entry.model is None:
            load = entry.load or self._retry(entry)
            done, _ = await asyncio.wait([load], timeout=max(0.0, deadline - time.monotonic()))
            if not done:
                raise entry.loading()
        return entry.model

    def _retry(self, entry: Entry) -> "asyncio.Task[None]":
        """A load begun, unless the last one failed a moment ago, or hangs still."""
        if entry.late or (entry.state == "failed" and time.monotonic() - entry.last_tried < RETRY_FAILED_S):
            raise entry.load_failed()
        return self._start_load(entry)

    def _start_load(self, entry: Entry) -> "asyncio.Task[None]":
        self._enter(entry, "loading")
        entry.load = asyncio.create_task(self._load(entry), name=f"load {entry.settings.id}")
        return entry.load

    async def _load(self, entry: Entry) -> None:
        log = self._telemetry.log.bind(model=entry.settings.id)
        started = time.monotonic()
        try:
            await self._make_room(entry)
            model, card = await self._loaded(entry)
            await self._warm_up(model)
        except asyncio.CancelledError:
            self._enter(entry, "unloaded")
            raise
        except DeviceLost as error:
            self._engine.give_up(error)
            self._enter(entry, "failed", "the device was lost while it was loaded")
        except (CheckpointError, ConfigurationError) as error:
            log.error("model_failed", reason=str(error))
            self._enter(entry, "failed", error.brief if isinstance(error, CheckpointError) else str(error))
        except LoadTimeout as error:
            log.error("model_failed", reason=str(error))
            self._enter(entry, "failed", str(error))
        except Exception as error:
            log.error("model_failed", exc_info=error)
            self._enter(entry, "failed", "it could not be loaded or run; the log says why")
        else:
            entry.model, entry.card = model, card
            self._enter(entry, "ready")
            log.info("model_ready", seconds=round(time.monotonic() - started, 2))
        finally:
            entry.last_tried = time.monotonic()
            entry.load = None
            async with self._freed:
                entry.placed = entry.placed and entry.model is not None
                self._freed.notify_all()

    async def _loaded(self, entry: Entry) -> Loaded:
        """What the loader makes of it. Raises what it raises, and `LoadTimeout`."""
        loading = asyncio.create_task(in_thread(lambda: self._load_model(entry.settings, entry.card), "load"))
        try:
            done, _ = await asyncio.wait([loading], timeout=self._load_timeout)
        except asyncio.CancelledError:
            loading.cancel()
            raise
        if not done:
            entry.late = loading
            loading.add_done_callback(lambda ended: self._end_late(entry, ended))
            raise LoadTimeout(f"its load did not end within {self._load_timeout:g} s")
        return loading.result()

    def _end_late(self, entry: Entry, ended: "asyncio.Task[Loaded]") -> None:
        """Lets the model be tried again; what was loaded is dropped here."""
        entry.late = None
        if not ended.cancelled():
            error = ended.exception()
            if isinstance(error, DeviceLost):
                self._engine.give_up(error)
            self._telemetry.log.warning("late_load_ended", model=entry.settings.id, error=error and str(error))

    async def _make_room(self, entry: Entry) -> None:
        """Waits for a place for one more model; preloaded ones need none, and never leave."""
        if not entry.settings.preload:
            entry.awaits_room = True
            try:
                async with self._freed:
                    await self._freed.wait_for(self._has_place)
                    entry.placed = True
            finally:
                entry.awaits_room = False

    def _has_place(self) -> bool:
        """Whether one more model may be loaded; unloads the idle one that was used longest ago to make it so."""
        placed = [entry for entry in self._directory.entries.values() if entry.placed]
        if len(placed) < self._max_loaded:
            return True
        idle = [entry for entry in placed if entry.model is not None and not entry.leases]
        if idle:
            self._unload(min(idle, key=lambda entry: entry.last_used))
        return bool(idle)

    def _unload(self, entry: Entry) -> None:
        entry.model, entry.placed = None, False
        self._enter(entry, "unloaded")
        self._telemetry.log.info("model_unloaded", model=entry.settings.id)

    async def _warm_up(self, model: AnyModel) -> None:
        """Runs the model's own first item through the device."""
        with self._engine.reserved(0, WARM_UP_S) as reservation:
            async with asyncio.timeout(WARM_UP_S):
                prepared = await in_thread(lambda: model.prepare(model.warm_up()), "warm-up")
            await asyncio.gather(*map(asyncio.wrap_future, self._engine.submit(reservation, model, prepared.works)))

    def _enter(self, entry: Entry, state: State, error: str | None = None) -> None:
        entry.state, entry.error = state, error
        self._telemetry.model_changed(entry.settings.id, state, get_args(State))
