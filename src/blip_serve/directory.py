"""The models of some settings by name, and which of them a request means; whoever runs them, here or elsewhere."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Generic, Literal, TypeVar

from blip_serve.catalogue import ModelCard, known_cards, resolve
from blip_serve.domain import ANYONE, Caller, ScoringProtocol, Task
from blip_serve.errors import InvalidInput, ModelNotFound, PermissionDenied, Unavailable
from blip_serve.settings import ModelSettings, Settings

State = Literal["unloaded", "loading", "ready", "failed"]


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


@dataclass(eq=False, slots=True)
class Known:
    """One model the service knows by name."""

    settings: ModelSettings
    card: ModelCard
    state: State = "unloaded"
    error: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """What clients may call it."""
        return (self.settings.id, *self.settings.aliases)

    @property
    def status(self) -> ModelStatus:
        """As it is now."""
        model = self.settings
        return ModelStatus(
            id=model.id,
            card=self.card,
            aliases=model.aliases,
            protocol=model.protocol,
            preload=model.preload,
            source=model.source or model.id,
            revision=model.revision,
            state=self.state,
            error=self.error,
        )

    def check_task(self, does: Collection[Task], asked: Sequence[Task]) -> None:
        """Raises `InvalidInput` where it does none of what is asked."""
        if not set(asked) & set(does):
            raise InvalidInput(
                f"The model '{self.settings.id}' does not do this task ({' or '.join(asked)}); "
                f"it does: {', '.join(sorted(does))}.",
                code="task_not_supported",
                param="model",
            )

    def loading(self) -> Unavailable:
        """The answer to a request whose time ran out before the model was there."""
        return Unavailable(f"The model '{self.settings.id}' is loading.", code="loading", retry_after=10)

    def load_failed(self) -> Unavailable:
        """The answer to a request for a model that could not be loaded."""
        return Unavailable(
            f"The model '{self.settings.id}' could not be loaded; /v1/models and the log say why.", code="load_failed"
        )


K = TypeVar("K", bound=Known)


class Directory(Generic[K]):
    """Finds the model a request names, or the one it means by naming none."""

    def __init__(self, settings: Settings, make: Callable[[ModelSettings, ModelCard], K]) -> None:
        entries = [make(model, card) for model, card in _models(settings)]
        self.entries = {entry.settings.id: entry for entry in entries}
        configured_last = reversed(entries)  # an alias goes before an id of the catalogue
        self._names = {name: entry for entry in configured_last for name in entry.names}
        configured = [model.id for model in settings.models]
        self._defaults = [settings.default_model, *configured] if settings.default_model else configured

    def statuses(self, caller: Caller = ANYONE) -> list[ModelStatus]:
        """Every model the caller may use, in the configuration's order."""
        return [entry.status for entry in self.entries.values() if _may_use(caller, entry)]

    def status(self, name: str, caller: Caller = ANYONE) -> ModelStatus:
        """One model by any of its names. Raises `ModelNotFound`, `PermissionDenied`, and `InvalidInput` for no name."""
        return self._find(name, caller).status

    def not_ready(self) -> list[str]:
        """Why the preloaded models are not all ready, a line each."""
        return [
            f"{entry.settings.id}: {entry.state}"
            for entry in self.entries.values()
            if entry.settings.preload and entry.state != "ready"
        ]

    def choose(self, name: str | None, tasks: Sequence[Task], caller: Caller) -> K:
        """The model for one of `tasks`, so far as is known what it does.

        No name means the default model, or where it does none of them or is not the caller's, the first that is.

        Raises `ModelNotFound`, `PermissionDenied` for a model that is not the caller's, and `InvalidInput` for an empty
        name or one that does none of `tasks`.
        """
        entry = self._default(tasks, caller) if name is None else self._find(name, caller)
        if entry.card.tasks is not None:
            entry.check_task(entry.card.tasks, tasks)
        return entry

    def _find(self, name: str, caller: Caller) -> K:
        if not name:
            raise InvalidInput("The model's name is empty: leave it out for the default model.", param="model")
        entry = self._names.get(name) or self.entries.get(resolve(name, self.entries) or "")
        if entry is None:
            raise ModelNotFound(f"The model '{name[:200]}' does not exist.", param="model")
        if not _may_use(caller, entry):
            raise PermissionDenied(f"This API key may not use the model '{name[:200]}'.", param="model")
        return entry

    def _default(self, tasks: Sequence[Task], caller: Caller) -> K:
        """The first of the default models that does one of `tasks`, so far as is known; else the first."""
        entries = [entry for name in self._defaults if _may_use(caller, entry := self._names[name])]
        if not entries:
            raise PermissionDenied("This API key may not use the default model: name one.", param="model")
        fit = (entry for entry in entries if entry.card.tasks is None or set(tasks) & set(entry.card.tasks))
        return next(fit, entries[0])


def list_models(settings: Settings) -> list[ModelStatus]:
    """The models of `settings`, none of them loaded."""
    return Directory(settings, Known).statuses()


def _models(settings: Settings) -> list[tuple[ModelSettings, ModelCard]]:
    """Those configured, and the catalogue's others where it is served."""
    cards = known_cards()
    models = [(model, _card(model, cards)) for model in settings.models]
    if settings.catalogue:
        configured = {card.id for _, card in models}
        models += [(ModelSettings(id=id), card) for id, card in cards.items() if id not in configured]
    return models


def _card(model: ModelSettings, cards: dict[str, ModelCard]) -> ModelCard:
    """The catalogue's card of the model, or of the hub id it comes from; an empty one for any other."""
    known = resolve(model.source or model.id, cards)
    return replace(cards[known], id=model.id) if known else ModelCard(model.id)


def _may_use(caller: Caller, entry: Known) -> bool:
    return any(fnmatchcase(name, pattern) for name in entry.names for pattern in caller.models)
