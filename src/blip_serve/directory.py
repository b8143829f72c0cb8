"""Which of the configured models a request means, by its name. Does not run them."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Generic, Literal, TypeVar

from blip_serve.catalogue import ModelCard, known_cards, resolve
from blip_serve.domain import ANYONE, Caller, ScoringProtocol, Task
from blip_serve.errors import InvalidInput, ModelNotFound, PermissionDenied, Unavailable
from blip_serve.memory import Footprint
from blip_serve.settings import PLAIN, ModelSettings, Settings

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
    parent: str | None = None
    """The model whose plain form this is, if it is one."""
    footprint: Footprint | None = None
    """What it takes of memory, once that was found out."""


@dataclass(eq=False, slots=True)
class Known:
    """One model the service knows by name."""

    settings: ModelSettings
    card: ModelCard
    state: State = "unloaded"
    error: str | None = None
    footprint: Footprint | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names that clients may call it by."""
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
            footprint=self.footprint,
        )

    def loading(self) -> Unavailable:
        """The answer to a request whose time ran out before the model was there."""
        return Unavailable(f"The model '{self.settings.id}' is loading.", code="loading", retry_after=10)

    def load_failed(self) -> Unavailable:
        """The answer to a request for a model that could not be loaded."""
        return Unavailable(
            f"The model '{self.settings.id}' could not be loaded; /v1/models and the log say why.", code="load_failed"
        )


PLAIN_TASKS: tuple[Task, ...] = ("caption", "explain")
"""What a plain form does."""

K = TypeVar("K", bound=Known)


@dataclass(frozen=True, slots=True)
class Named(Generic[K]):
    """A model, or its `plain` form: a captioning model that ignores the user's text instead of continuing it.

    The plain form is for clients that send an instruction with every picture. Both forms are one model, loaded once.
    """

    model: K
    plain: bool = False

    @property
    def id(self) -> str:
        """The name that lists and answers show."""
        return self._called(self.model.settings.id)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that clients may call it by."""
        return tuple(map(self._called, self.model.names))

    @property
    def status(self) -> ModelStatus:
        """As it is now."""
        status = self.model.status
        if not self.plain:
            return status
        card = replace(status.card, id=self.id, description=f"{status.card.description} (the user's text is not read)")
        aliases = tuple(map(self._called, status.aliases))
        return replace(status, id=self.id, card=card, aliases=aliases, parent=status.id)

    def may_be_used(self, caller: Caller) -> bool:
        """Whether the caller may use it, or the model whose plain form it is."""
        names = {*self.names, *self.model.names}
        return any(fnmatchcase(name, pattern) for name in names for pattern in caller.models)

    def does(self, tasks: Sequence[Task]) -> bool:
        """Whether it does one of `tasks`. True if its tasks are not known yet."""
        known = self.model.card.architecture
        return known is None or bool(self._of(known.tasks) & set(tasks))

    def check_task(self, does: Collection[Task], asked: Sequence[Task], caller: Caller) -> None:
        """Raises `InvalidInput` if it does none of the tasks `asked`. `does`: the tasks of the model.

        Raises `PermissionDenied` if the caller may use it for none of them.
        """
        mine = self._of(does)
        if not mine:
            raise not_found(self.id)
        done = [task for task in asked if task in mine]
        if not done:
            raise InvalidInput(
                f"The model '{self.id}' does not do this task ({' or '.join(asked)}); "
                f"it does: {', '.join(sorted(mine))}.",
                code="task_not_supported",
                param="model",
            )
        if not _allowed(done, caller):
            raise not_allowed(done, param="model")

    def _of(self, does: Collection[Task]) -> set[Task]:
        return {task for task in does if task in PLAIN_TASKS or not self.plain}

    def _called(self, name: str) -> str:
        return name + PLAIN if self.plain else name


def check_manages(caller: Caller) -> None:
    """Raises `PermissionDenied` if the caller may not load and unload models."""
    if not caller.manages:
        raise PermissionDenied("This API key may not load or unload models.", code="management_not_allowed")


def not_found(name: str) -> ModelNotFound:
    """The answer to a name that no model has."""
    return ModelNotFound(f"The model '{name[:200]}' does not exist.", param="model")


def not_allowed(tasks: Sequence[Task], param: str | None = None) -> PermissionDenied:
    """The answer to a request of `tasks` by a key that may use none of them. `param`: the field that asked for them."""
    named = " or ".join(f"'{task}'" for task in tasks)
    return PermissionDenied(f"This API key may not use the task {named}.", code="task_not_allowed", param=param)


class Directory(Generic[K]):
    """Finds the model that a request names, or the default one if it names none."""

    def __init__(self, settings: Settings, make: Callable[[ModelSettings, ModelCard], K]) -> None:
        entries = [make(model, card) for model, card in _models(settings)]
        self.entries = {entry.settings.id: entry for entry in entries}
        configured_last = reversed(entries)  # an alias goes before an id of the catalogue
        self._names = {name: entry for entry in configured_last for name in entry.names}
        configured = [model.id for model in settings.models]
        self._defaults = [settings.default_model, *configured] if settings.default_model else configured

    def statuses(self, caller: Caller = ANYONE) -> list[ModelStatus]:
        """Every model the caller may use for anything, in the configuration's order.

        Of captioning models also the plain form.
        """
        forms = [
            form for entry in self.entries.values() for form in (Named(entry), Named(entry, True)) if _is_listed(form)
        ]
        return [form.status for form in forms if form.may_be_used(caller) and form.does(caller.tasks)]

    def status(self, name: str, caller: Caller = ANYONE) -> ModelStatus:
        """One model by any of its names. Raises `ModelNotFound`, `PermissionDenied`; `InvalidInput` if it is empty."""
        return self.find(name, caller).status

    def not_ready(self) -> list[str]:
        """A line for each preloaded model that is not ready."""
        return [
            f"{entry.settings.id}: {entry.state}"
            for entry in self.entries.values()
            if entry.settings.preload and entry.state != "ready"
        ]

    def choose(self, name: str | None, tasks: Sequence[Task], caller: Caller) -> Named[K]:
        """The model for one of `tasks`. A model whose tasks are not known yet may turn out to do none of them.

        Without a name, it is the default model. If that does none of the tasks that the caller may use, or the caller
        may not use it, it is the first configured model that fits.

        Raises `ModelNotFound`, `PermissionDenied` if the caller may not use the model or the task, and `InvalidInput`
        for an empty name or a model that does none of `tasks`.
        """
        allowed = _allowed(tasks, caller)
        found = self._default(allowed, caller) if name is None else self.find(name, caller)
        if not allowed:
            raise not_allowed(tasks)
        if found.model.card.architecture is not None:
            found.check_task(found.model.card.architecture.tasks, tasks, caller)
        return found

    def find(self, name: str, caller: Caller) -> Named[K]:
        """The model of that name. Raises what `status` raises."""
        if not name:
            raise InvalidInput("The model's name is empty: leave it out for the default model.", param="model")
        found = self._named(name)
        if found is None or not _exists(found):
            raise not_found(name)
        if not found.may_be_used(caller):
            raise PermissionDenied(f"This API key may not use the model '{name[:200]}'.", param="model")
        return found

    def _named(self, name: str) -> Named[K] | None:
        base = name.removesuffix(PLAIN)
        entry = self._names.get(base) or self.entries.get(resolve(base, self.entries) or "")
        return None if entry is None else Named(entry, plain=base != name)

    def _default(self, tasks: Sequence[Task], caller: Caller) -> Named[K]:
        """The first of the default models that does one of `tasks`, or else the first that the caller may use."""
        known = [found for name in self._defaults if (found := self._named(name)) and found.may_be_used(caller)]
        if not known:
            raise PermissionDenied("This API key may not use the default model: name one.", param="model")
        return next((found for found in known if found.does(tasks)), known[0])


def _allowed(tasks: Sequence[Task], caller: Caller) -> list[Task]:
    """Those of `tasks` that the caller may use."""
    return [task for task in tasks if task in caller.tasks]


def _exists(form: Named[K]) -> bool:
    """Whether there is such a form. Only captioning models have a plain one; a model not known yet may be one."""
    return not form.plain or form.does(["caption"])


def _is_listed(form: Named[K]) -> bool:
    """Whether it is certain that there is such a form."""
    return not form.plain or (form.model.card.architecture is not None and form.does(["caption"]))


def list_models(settings: Settings) -> list[ModelStatus]:
    """The models of `settings`, as they are before any is loaded."""
    return Directory(settings, Known).statuses()


def _models(settings: Settings) -> list[tuple[ModelSettings, ModelCard]]:
    """The configured models, then the catalogue's others if the settings serve the catalogue."""
    cards = known_cards()
    models = [(model, _card(model, cards)) for model in settings.models]
    if settings.catalogue:
        configured = {card.id for _, card in models}
        models += [(ModelSettings(id=id), card) for id, card in cards.items() if id not in configured]
    return models


def _card(model: ModelSettings, cards: dict[str, ModelCard]) -> ModelCard:
    """The catalogue's card of the model, or of the hub id it comes from; an empty card for any other model."""
    known = resolve(model.source or model.id, cards)
    return replace(cards[known], id=model.id) if known else ModelCard(model.id)
