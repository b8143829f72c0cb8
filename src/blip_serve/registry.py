"""Finds a model by name or by what it must do, and lends it out (a lease). Loads it if needed, unloads idle ones."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import get_args

from blip_serve.catalogue import ModelCard
from blip_serve.directory import Directory, Known, State
from blip_serve.domain import ANYONE, AnyModel, Caller, ScoringProtocol, Task
from blip_serve.engine.engine import Engine
from blip_serve.errors import CheckpointError, ConfigurationError, DeviceLost, Unavailable
from blip_serve.loading import Loader
from blip_serve.settings import Settings
from blip_serve.telemetry import Telemetry
from blip_serve.threads import in_thread

RETRY_FAILED_S = 30.0
"""After a load failed, a request starts another try no sooner than this."""
WARM_UP_S = 300.0


Loaded = tuple[AnyModel, ModelCard]


class LoadTimeout(Exception):
    """A load that took longer than `load_timeout_s`."""


@dataclass(eq=False, slots=True)
class Entry(Known):
    """One model, and the state of its loading and use."""

    model: AnyModel | None = None
    leases: int = 0
    counted: bool = False  # as one of the `max_loaded` models
    awaits_room: bool = False  # until one more model may be counted
    last_used: float = 0.0
    last_tried: float = -math.inf
    load: "asyncio.Task[None] | None" = None
    late: "asyncio.Task[Loaded] | None" = None  # a load that was given up and has not ended
    part: "asyncio.Task[None] | None" = None  # the load of what only some of the model's tasks need
    part_failed: float = -math.inf


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
    """Loads models and leases them. Lives on the event loop; loads run on threads, one at a time for each model.

    A load that takes longer than `load_timeout_s` is given up. The model is then failed and no longer counted as
    loaded. The thread of the load cannot be stopped and may hold memory. Until it ends, the model is not tried again;
    what it loaded is dropped.
    """

    def __init__(self, settings: Settings, engine: Engine, telemetry: Telemetry, load: Loader) -> None:
        self._engine = engine
        self._telemetry = telemetry
        self._load_model = load
        self._max_loaded = settings.max_loaded
        self._load_timeout = settings.load_timeout_s
        self.directory = Directory(settings, Entry)
        self._freed = asyncio.Condition()
        for entry in self.directory.entries.values():
            self._enter(entry, "unloaded")

    def preload(self) -> None:
        """Starts loading the models that the settings say to preload."""
        for entry in self.directory.entries.values():
            if entry.settings.preload:
                self._start_load(entry)

    async def close(self) -> None:
        """Gives up all loads."""
        entries = self.directory.entries.values()
        loads = [load for entry in entries for load in (entry.load, entry.late, entry.part) if load is not None]
        for load in loads:
            load.cancel()
        await asyncio.gather(*loads, return_exceptions=True)

    @asynccontextmanager
    async def lease(
        self, name: str | None, tasks: Sequence[Task], deadline: float, caller: Caller = ANYONE
    ) -> AsyncIterator[Lease]:
        """A running model for one of `tasks`. Loads it first if needed. `deadline`: in monotonic seconds.

        Raises what `Directory.choose` raises, and `Unavailable` if the model, or what of it only these tasks need,
        failed to load or is not loaded by the deadline.
        """
        found = self.directory.choose(name, tasks, caller)
        entry = found.model
        entry.leases += 1  # taken before the load, so that nothing unloads the model between its load and its use
        try:
            model = entry.model or await self._await_load(entry, deadline)
            found.check_task(model.tasks, tasks, caller)
            await self._await_part(entry, model, tasks, deadline)
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

    async def _await_part(self, entry: Entry, model: AnyModel, tasks: Sequence[Task], deadline: float) -> None:
        """Waits until all is loaded that only these tasks need of the model: all who wait share one load.

        It has a thread of its own, so that a slow disk holds no thread that other requests need.
        """
        while (load := model.missing(tasks)) is not None:
            if entry.part is None:
                if time.monotonic() - entry.part_failed < RETRY_FAILED_S:
                    raise Unavailable(
                        f"A part of the model '{entry.settings.id}' that this task needs could not be loaded; the log "
                        "says why.",
                        code="load_failed",
                    )
                entry.part = asyncio.create_task(self._load_part(entry, load), name=f"load {entry.settings.id}")
            done, _ = await asyncio.wait([entry.part], timeout=max(0.0, deadline - time.monotonic()))
            if not done:
                raise entry.loading()

    async def _load_part(self, entry: Entry, load: Callable[[], object]) -> None:
        log = self._telemetry.log.bind(model=entry.settings.id)
        try:
            await in_thread(load, "load")
        except CheckpointError as error:
            log.error("model_part_failed", reason=str(error))
            entry.part_failed = time.monotonic()
        except Exception as error:
            log.error("model_part_failed", exc_info=error)
            entry.part_failed = time.monotonic()
            if isinstance(error, DeviceLost):
                self._engine.give_up(error)
        finally:
            entry.part = None

    def _retry(self, entry: Entry) -> "asyncio.Task[None]":
        """Starts a load. Raises `Unavailable` if the last one failed a moment ago or still hangs."""
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
                entry.counted = entry.counted and entry.model is not None
                self._freed.notify_all()

    async def _loaded(self, entry: Entry) -> Loaded:
        """The loaded model and its card. Raises what the loader raises, and `LoadTimeout`."""
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
        """Allows the model to be tried again, and drops what the late load made."""
        entry.late = None
        if not ended.cancelled():
            error = ended.exception()
            if isinstance(error, DeviceLost):
                self._engine.give_up(error)
            self._telemetry.log.warning("late_load_ended", model=entry.settings.id, error=error and str(error))

    async def _make_room(self, entry: Entry) -> None:
        """Waits until one more model may be loaded. Preloaded models are not counted, and are never unloaded."""
        if not entry.settings.preload:
            entry.awaits_room = True
            try:
                async with self._freed:
                    await self._freed.wait_for(self._has_room)
                    entry.counted = True
            finally:
                entry.awaits_room = False

    def _has_room(self) -> bool:
        """Whether one more model may be loaded. If need be, makes room: unloads the model that was idle longest."""
        counted = [entry for entry in self.directory.entries.values() if entry.counted]
        if len(counted) < self._max_loaded:
            return True
        idle = [entry for entry in counted if entry.model is not None and not entry.leases]
        if idle:
            self._unload(min(idle, key=lambda entry: entry.last_used))
        return bool(idle)

    def _unload(self, entry: Entry) -> None:
        entry.model, entry.counted = None, False
        self._enter(entry, "unloaded")
        self._telemetry.log.info("model_unloaded", model=entry.settings.id)

    async def _warm_up(self, model: AnyModel) -> None:
        """Runs the model's warm-up item through the engine."""
        with self._engine.reserved(0, WARM_UP_S) as reservation:
            async with asyncio.timeout(WARM_UP_S):
                prepared = await in_thread(lambda: model.prepare(model.warm_up()), "warm-up")
            await asyncio.gather(*map(asyncio.wrap_future, self._engine.submit(reservation, model, prepared.works)))

    def _enter(self, entry: Entry, state: State, error: str | None = None) -> None:
        entry.state, entry.error = state, error
        self._telemetry.model_changed(entry.settings.id, state, get_args(State))
