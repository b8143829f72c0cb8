"""Which models are in memory: loads them, finds the room for that, and unloads idle ones. Knows no request."""

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Callable, Collection
from typing import Any, TypeVar, get_args

from blip_serve.directory import State
from blip_serve.domain import AnyModel
from blip_serve.engine.engine import Engine
from blip_serve.errors import CheckpointError, ConfigurationError, DeviceLost
from blip_serve.loading import Found, Loaded, Loader
from blip_serve.memory import NeverFits, Room
from blip_serve.resident import Resident
from blip_serve.settings import Settings
from blip_serve.telemetry import Telemetry
from blip_serve.threads import in_thread

WARM_UP_S = 300.0
GONE_S = 5.0
"""Seconds that an unloaded model may still be used by a step under way, of a request whose client has left."""

T = TypeVar("T")


class LoadTimeout(Exception):
    """A load that took longer than `load_timeout_s`."""


class Residents:
    """Loads and unloads models. Lives on the event loop; loads run on threads, one at a time for each model.

    All models together hold no more than the budget. A model that finds too little room has idle ones unloaded, those
    used longest ago, or waits for leases to end. Preloaded models stay.

    A load that takes longer than `load_timeout_s` is given up. The model is then failed and its room free. The thread
    of the load cannot be stopped and may hold memory. Until it ends, the model is not tried again; what it loaded is
    dropped.
    """

    def __init__(
        self, settings: Settings, engine: Engine, telemetry: Telemetry, loader: Loader, entries: Collection[Resident]
    ) -> None:
        self._engine = engine
        self._telemetry = telemetry
        self._loader = loader
        self._load_timeout = settings.load_timeout_s
        self._unload_after = settings.memory.unload_after_s
        self._budget = 0  # known from the first load on
        self._entries = entries
        self._room = Room(entries, self.unload)
        for entry in entries:
            self._enter(entry, "unloaded")

    async def close(self) -> None:
        """Gives up all loads."""
        tasks = [
            task
            for each in self._entries
            for task in (each.load, each.late, each.part, each.leaving, each.watch)
            if task is not None
        ]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def load(self, entry: Resident) -> "asyncio.Task[None]":
        """Starts the load of a model that is not loaded. The task never fails: `entry` tells what came of it."""
        self._enter(entry, "loading")
        entry.refusal = None
        entry.load = asyncio.create_task(self._load(entry), name=f"load {entry.settings.id}")
        return entry.load

    def load_part(self, entry: Resident, load: Callable[[], object]) -> "asyncio.Task[None]":
        """Starts the load of a part of a model, as `load` does."""
        entry.part = asyncio.create_task(self._load_part(entry, load), name=f"load {entry.settings.id}")
        return entry.part

    def unload(self, entry: Resident) -> None:
        """Drops a loaded model at once. Its room is free when its memory is given back."""
        assert entry.model is not None
        gone = threading.Event()
        weakref.finalize(entry.model, gone.set).atexit = False
        entry.model = None
        self._enter(entry, "unloaded")
        self._telemetry.log.info("model_unloaded", model=entry.settings.id)
        self._leave(entry, gone)

    def left(self, entry: Resident) -> None:
        """Nobody leases the model any more."""
        waiting = entry.load or entry.part
        if entry.awaits_room and not entry.pinned and waiting is not None:
            waiting.cancel()  # nobody waits for it any more
        self._room.changed()

    async def _load(self, entry: Resident) -> None:
        log = self._telemetry.log.bind(model=entry.settings.id)
        started = time.monotonic()
        try:
            entry.model, entry.card = await self._loaded(entry)
        except asyncio.CancelledError:
            entry.held = 0
            self._enter(entry, "unloaded")
            raise
        except DeviceLost as error:
            self._engine.give_up(error)
            self._enter(entry, "failed", "the device was lost while it was loaded")
        except NeverFits as error:
            log.error("model_failed", reason=str(error))
            entry.refusal = str(error)
            self._enter(entry, "failed", str(error))
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
            self._enter(entry, "ready")
            log.info("model_ready", seconds=round(time.monotonic() - started, 2))
            self._watch_idle(entry)
        finally:
            entry.last_tried = entry.last_used = time.monotonic()
            entry.load = None
            if entry.model is None and entry.held:
                self._leave(entry, None)
            self._room.changed()

    async def _loaded(self, entry: Resident) -> Loaded:
        """The loaded model, warmed up, and its card. Raises what the loader raises, `NeverFits` and `LoadTimeout`."""
        if entry.leaving is not None:
            await asyncio.wait([entry.leaving])
        started = time.monotonic()
        found = await self._on_thread(entry, lambda: self._find(entry), self._load_timeout)
        left = self._load_timeout - (time.monotonic() - started)
        entry.footprint = found.footprint
        await self._take(entry, found.footprint.held)
        model, card = await self._on_thread(entry, found.load, left)
        await self._warm_up(model)
        return model, card

    def _find(self, entry: Resident) -> Found:
        self._budget = self._budget or self._loader.budget()
        return self._loader.find(entry.settings, entry.card)

    async def _take(self, entry: Resident, size: int) -> None:
        """Waits for room, and takes it. Raises `NeverFits`."""
        entry.awaits_room = True
        try:
            await self._room.take(entry, size, self._budget)
        finally:
            entry.awaits_room = False

    async def _on_thread(self, entry: Resident, call: Callable[[], T], seconds: float) -> T:
        """The result of a step of a load. Raises what it raises, and `LoadTimeout` if it takes longer."""
        loading = asyncio.create_task(in_thread(call, "load"))
        try:
            done, _ = await asyncio.wait([loading], timeout=seconds)
        except asyncio.CancelledError:
            loading.cancel()
            raise
        if not done:
            entry.late = asyncio.create_task(self._end_late(entry, loading))
            raise LoadTimeout(f"its load did not end within {self._load_timeout:g} s")
        return loading.result()

    async def _load_part(self, entry: Resident, load: Callable[[], object]) -> None:
        log = self._telemetry.log.bind(model=entry.settings.id)
        before, entry.part_refusal = entry.held, None
        try:
            if entry.footprint is not None:
                await self._take(entry, max(0, entry.footprint.held + entry.footprint.explaining - before))
            await self._on_thread(entry, load, self._load_timeout)
        except asyncio.CancelledError:
            entry.held = before
            raise
        except Exception as error:
            entry.part_failed = time.monotonic()
            if not isinstance(error, LoadTimeout):  # its thread may end yet, and the model then has the part
                entry.held = before
            if isinstance(error, NeverFits):
                entry.part_refusal = str(error)
            known = isinstance(error, NeverFits | LoadTimeout | CheckpointError)
            told = {"reason": str(error)} if known else {"exc_info": error}
            log.error("model_part_failed", **told)
            if isinstance(error, DeviceLost):
                self._engine.give_up(error)
        finally:
            entry.part = None
            self._room.changed()

    async def _end_late(self, entry: Resident, loading: "asyncio.Task[Any]") -> None:
        """Waits for a load that was given up. Drops what it made, and allows the model to be tried again."""
        try:
            await asyncio.wait([loading])
            error = loading.exception()
            del loading
            if isinstance(error, DeviceLost):
                self._engine.give_up(error)
            self._telemetry.log.warning("late_load_ended", model=entry.settings.id, error=error and str(error))
            await in_thread(self._loader.give_back, "unload")
        finally:
            entry.late = None

    def _leave(self, entry: Resident, gone: threading.Event | None) -> None:
        """Begins to give back the memory of a model that was dropped, or not loaded whole. `gone`: of `_give_back`."""
        entry.leaving = asyncio.create_task(self._give_room_back(entry, gone), name=f"unload {entry.settings.id}")

    async def _give_room_back(self, entry: Resident, gone: threading.Event | None) -> None:
        try:
            await in_thread(lambda: self._give_back(gone), "unload")
        finally:
            entry.held, entry.leaving = 0, None
            self._room.changed()

    def _give_back(self, gone: threading.Event | None) -> None:
        """Returns the memory of a model to the system once nothing refers to it.

        `gone`: set when that is so; `None` for one that was never whole.
        """
        if gone is None or not gone.is_set():
            gc.collect()  # an error's traceback may be part of a cycle
        if gone is not None and not gone.wait(GONE_S):
            self._telemetry.log.warning("model_still_used")
        self._loader.give_back()

    def _watch_idle(self, entry: Resident) -> None:
        watched = entry.watch is not None and not entry.watch.done()
        if self._unload_after is not None and not entry.pinned and not watched:
            entry.watch = asyncio.create_task(self._unload_when_idle(entry, self._unload_after))

    async def _unload_when_idle(self, entry: Resident, after: float) -> None:
        """Unloads the model once it was idle for `after` seconds."""
        while entry.model is not None:
            left = entry.last_used + after - time.monotonic() if entry.idle else after
            if left <= 0:
                self.unload(entry)
            else:
                await asyncio.sleep(left)

    async def _warm_up(self, model: AnyModel) -> None:
        """Runs the model's warm-up item through the engine."""
        with self._engine.reserved(0, WARM_UP_S) as reservation:
            async with asyncio.timeout(WARM_UP_S):
                prepared = await in_thread(lambda: model.prepare(model.warm_up()), "warm-up")
            await asyncio.gather(*map(asyncio.wrap_future, self._engine.submit(reservation, model, prepared.works)))

    def _enter(self, entry: Resident, state: State, error: str | None = None) -> None:
        entry.state, entry.error = state, error
        self._telemetry.model_changed(entry.settings.id, state, get_args(State))
