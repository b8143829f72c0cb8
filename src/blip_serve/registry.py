"""Model name and task to a lease on a running model: lazy load, state, room."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal, get_args

from blip_serve.catalogue import ModelCard, known_cards, resolve
from blip_serve.domain import ANYONE, AnyModel, Caller, ScoringProtocol, Task
from blip_serve.engine.engine import Engine
from blip_serve.errors import (
    CheckpointError,
    ConfigurationError,
    InvalidInput,
    ModelNotFound,
    PermissionDenied,
    Unavailable,
)
from blip_serve.loading import Loader
from blip_serve.settings import ModelSettings, Settings
from blip_serve.telemetry import Telemetry
from blip_serve.threads import in_thread

State = Literal["unloaded", "loading", "ready", "failed"]
RETRY_FAILED_S = 30.0
"""A request for a model that failed to load starts another try no sooner than this after the last."""
WARM_UP_S = 300.0


@dataclass(eq=False, slots=True)
class Entry:
    """One model the service knows by name."""

    settings: ModelSettings
    card: ModelCard
    state: State = "unloaded"
    error: str | None = None
    model: AnyModel | None = None
    leases: int = 0
    placed: bool = False  # takes one of the `max_loaded` places
    awaits_room: bool = False
    last_used: float = 0.0
    last_tried: float = -math.inf
    load: "asyncio.Task[None] | None" = None

    @property
    def names(self) -> tuple[str, ...]:
        """What clients may call it."""
        return (self.settings.id, *self.settings.aliases)


@dataclass(frozen=True, slots=True)
class Lease:
    """A model that stays loaded while this is held; `card` is as complete as it gets."""

    id: str
    model: AnyModel
    protocol: ScoringProtocol
    card: ModelCard


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model as the models page shows it."""

    id: str
    card: ModelCard
    aliases: tuple[str, ...]
    protocol: ScoringProtocol
    preload: bool
    source: str
    revision: str | None
    state: State
    error: str | None


class Registry:
    """The models by name. Lives on the event loop; loads run on threads, one at a time a model however many wait."""

    def __init__(self, settings: Settings, engine: Engine, telemetry: Telemetry, load: Loader) -> None:
        self._engine = engine
        self._telemetry = telemetry
        self._load_model = load
        self._max_loaded = settings.max_loaded
        self._entries = {entry.settings.id: entry for entry in _entries(settings)}
        configured_last = reversed(self._entries.values())  # an alias goes before an id of the catalogue
        self._names = {name: entry for entry in configured_last for name in entry.names}
        configured = [model.id for model in settings.models]
        self._defaults = [settings.default_model, *configured] if settings.default_model else configured
        self._freed = asyncio.Condition()
        for entry in self._entries.values():
            self._enter(entry, "unloaded")

    def preload(self) -> None:
        """Starts loading the models to be preloaded."""
        for entry in self._entries.values():
            if entry.settings.preload:
                self._start_load(entry)

    async def close(self) -> None:
        """Gives up the loads under way."""
        loads = [entry.load for entry in self._entries.values() if entry.load is not None]
        for load in loads:
            load.cancel()
        await asyncio.gather(*loads, return_exceptions=True)

    def statuses(self, caller: Caller = ANYONE) -> list[ModelStatus]:
        """Every model the caller may use, in the configuration's order."""
        return [_status(entry) for entry in self._entries.values() if _may_use(caller, entry)]

    def status(self, name: str, caller: Caller = ANYONE) -> ModelStatus:
        """One model by any of its names. Raises `ModelNotFound`, and `PermissionDenied`."""
        return _status(self._find(name, caller))

    def not_ready(self) -> list[str]:
        """Why the preloaded models are not all ready, a line each."""
        return [
            f"{entry.settings.id}: {entry.state}"
            for entry in self._entries.values()
            if entry.settings.preload and entry.state != "ready"
        ]

    @asynccontextmanager
    async def lease(
        self, name: str | None, tasks: Sequence[Task], deadline: float, caller: Caller = ANYONE
    ) -> AsyncIterator[Lease]:
        """A running model for one of `tasks`, loaded first if need be; `deadline` in monotonic seconds.

        No name means the default model, or where it does none of them or is not the caller's, the first that is.

        Raises `ModelNotFound`, `PermissionDenied` for a model that is not the caller's, `InvalidInput` for one that
        does none of them, and `Unavailable` for one that failed to load or is not there by the deadline.
        """
        entry = self._find(name, caller) if name else self._default(tasks, caller)
        if entry.card.tasks is not None:
            _check_task(entry, entry.card.tasks, tasks)
        entry.leases += 1  # before it is loaded: nothing may unload it between its load and its use
        try:
            model = entry.model or await self._await_load(entry, deadline)
            _check_task(entry, model.tasks, tasks)
            yield Lease(entry.settings.id, model, entry.settings.protocol, entry.card)
        finally:
            entry.leases -= 1
            entry.last_used = time.monotonic()
            if entry.awaits_room and not entry.leases and entry.load is not None:
                entry.load.cancel()  # nobody waits for it any more
            async with self._freed:
                self._freed.notify_all()

    def _find(self, name: str, caller: Caller) -> Entry:
        entry = self._names.get(name) or self._entries.get(resolve(name, self._entries) or "")
        if entry is None:
            raise ModelNotFound(f"The model '{name[:200]}' does not exist.", param="model")
        if not _may_use(caller, entry):
            raise PermissionDenied(f"This API key may not use the model '{name[:200]}'.", param="model")
        return entry

    def _default(self, tasks: Sequence[Task], caller: Caller) -> Entry:
        """The first of the default models that does one of `tasks`, so far as is known; else the first."""
        entries = [entry for name in self._defaults if _may_use(caller, entry := self._names[name])]
        if not entries:
            raise PermissionDenied("This API key may not use the default model: name one.", param="model")
        fit = (entry for entry in entries if entry.card.tasks is None or set(tasks) & set(entry.card.tasks))
        return next(fit, entries[0])

    async def _await_load(self, entry: Entry, deadline: float) -> AnyModel:
        while entry.model is None:
            load = entry.load or self._retry(entry)
            done, _ = await asyncio.wait([load], timeout=max(0.0, deadline - time.monotonic()))
            if not done:
                raise Unavailable(f"The model '{entry.settings.id}' is loading.", code="loading", retry_after=10)
        return entry.model

    def _retry(self, entry: Entry) -> "asyncio.Task[None]":
        """A load begun, unless the last one failed a moment ago."""
        if entry.state == "failed" and time.monotonic() - entry.last_tried < RETRY_FAILED_S:
            raise Unavailable(
                f"The model '{entry.settings.id}' could not be loaded; /v1/models and the log say why.",
                code="load_failed",
            )
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
            model, card = await in_thread(lambda: self._load_model(entry.settings, entry.card), "load")
            await self._warm_up(model)
        except asyncio.CancelledError:
            self._enter(entry, "unloaded")
            raise
        except (CheckpointError, ConfigurationError) as error:
            log.error("model_failed", reason=str(error))
            self._enter(entry, "failed", error.brief if isinstance(error, CheckpointError) else str(error))
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
        placed = [entry for entry in self._entries.values() if entry.placed]
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
        with self._engine.reserve(0, WARM_UP_S) as reservation:
            prepared = await asyncio.to_thread(model.prepare, model.warm_up())
            await asyncio.gather(*map(asyncio.wrap_future, reservation.submit(model, prepared.works)))

    def _enter(self, entry: Entry, state: State, error: str | None = None) -> None:
        entry.state, entry.error = state, error
        self._telemetry.model_changed(entry.settings.id, state, get_args(State))


def list_models(settings: Settings) -> list[ModelStatus]:
    """The models of `settings`, none of them loaded."""
    return [_status(entry) for entry in _entries(settings)]


def _entries(settings: Settings) -> list[Entry]:
    cards = known_cards()
    entries = [Entry(model, _card(model, cards)) for model in settings.models]
    if settings.catalogue:
        configured = {entry.card.id for entry in entries}
        entries += [Entry(ModelSettings(id=id), card) for id, card in cards.items() if id not in configured]
    return entries


def _card(model: ModelSettings, cards: dict[str, ModelCard]) -> ModelCard:
    """The catalogue's card of the model, or of the hub id it comes from; an empty one for any other."""
    known = resolve(model.source or model.id, cards)
    return replace(cards[known], id=model.id) if known else ModelCard(model.id)


def _check_task(entry: Entry, does: Collection[Task], asked: Sequence[Task]) -> None:
    if not set(asked) & set(does):
        raise InvalidInput(
            f"The model '{entry.settings.id}' does not do this task ({' or '.join(asked)}); "
            f"it does: {', '.join(sorted(does))}.",
            code="task_not_supported",
            param="model",
        )


def _may_use(caller: Caller, entry: Entry) -> bool:
    return any(fnmatchcase(name, pattern) for name in entry.names for pattern in caller.models)


def _status(entry: Entry) -> ModelStatus:
    model = entry.settings
    return ModelStatus(
        id=model.id,
        card=entry.card,
        aliases=model.aliases,
        protocol=model.protocol,
        preload=model.preload,
        source=model.source or model.id,
        revision=model.revision,
        state=entry.state,
        error=entry.error,
    )
