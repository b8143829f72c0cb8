"""The fields that all requests and all results share: model, protocol, service tier, usage and timings."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Generic, Literal, TypedDict, TypeVar, get_args, get_origin, get_type_hints

from blip_serve.domain import Caller, Prepared, ScoringProtocol, ServiceTier, Task, WorkClass
from blip_serve.errors import InvalidInput, PermissionDenied

ServedTier = Literal["default", "flex"]
"""The service tier that a request was served at."""
ResultT = TypeVar("ResultT", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Generic[ResultT]):
    """A request of one task. Its result is a `ResultT`. `needs`: its model must be able to do one of these tasks.

    `model` and `protocol`: `None` means the configured default. `service_tier`: `flex` asks for background work;
    `auto` is background work only for a caller that is limited to it.
    """

    needs: ClassVar[tuple[Task, ...]] = ()

    model: str | None = None
    protocol: ScoringProtocol | None = None
    service_tier: ServiceTier = "auto"

    @property
    def task_name(self) -> str:
        """What traces call its task: `match` for a `MatchRequest`."""
        return type(self).__name__.removesuffix("Request").lower()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a request. Each distinct image counts once. `cached_tokens`: part of `image_tokens`."""

    image_tokens: int
    text_tokens: int
    cached_tokens: int
    generated_tokens: int = 0

    @property
    def given(self) -> int:
        """Tokens of the request's inputs."""
        return self.image_tokens + self.text_tokens

    @property
    def total(self) -> int:
        """Tokens of the inputs and of the generated texts."""
        return self.given + self.generated_tokens


@dataclass(frozen=True, slots=True)
class Timings:
    """Where a request's time went, in seconds. `fetch`: of the slowest image. `decode`: the sum over all images."""

    fetch: float
    decode: float
    queue: float
    device: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The fields of every result. `model`: the name of the model that answered."""

    model: str
    protocol: ScoringProtocol
    service_tier: ServedTier
    usage: Usage
    timings: Timings


class Served(TypedDict):
    """The fields of a `Result`."""

    model: str
    protocol: ScoringProtocol
    service_tier: ServedTier
    usage: Usage
    timings: Timings


def work_class(request: Request[Any], caller: Caller) -> WorkClass:
    """The request's class of work. Raises `PermissionDenied` for a service tier that the caller may not use."""
    if request.service_tier == "flex":
        return "background"
    if not caller.flex_only:
        return "interactive"
    if request.service_tier == "auto":
        return "background"
    raise PermissionDenied(
        f"This API key is limited to the service tier 'flex'; '{request.service_tier}' was asked for.",
        code="service_tier_not_allowed",
        param="service_tier",
    )


def check_names(request: Request[Any]) -> None:
    """Raises `InvalidInput` naming the first field with a value that its type does not allow.

    Such a type is a `Literal`, or a set of them. Types are not checked at run time otherwise: callers in Python may
    give any string.
    """
    kind: Any = type(request)
    for field, known in _names(kind):
        value = getattr(request, field)
        for each in value if isinstance(value, frozenset) else (value,):
            if each not in known:
                listed = ", ".join(repr(name) for name in known if name is not None)
                raise InvalidInput(f"'{field}' is {each!r:.100}; it must be one of {listed}.", param=field)


@cache
def _names(kind: type[Request[Any]]) -> list[tuple[str, tuple[object, ...]]]:
    """The fields of a request whose values are names, and the names that each may have."""
    found = []
    for field, hint in get_type_hints(kind).items():
        parts = [part for part in (hint, *get_args(hint)) if get_origin(part) is Literal]
        if parts and get_origin(hint) is not ClassVar and int not in get_args(hint):
            optional = (None,) if type(None) in get_args(hint) else ()
            found.append((field, (*get_args(parts[0]), *optional)))
    return found


def usage_of(images: Iterable[tuple[str, Prepared]], text_tokens: int) -> Usage:
    """The usage of a request. Each of `images`, given with its digest, counts once.

    An image that was prepared several times counts as cached only if it was cached every time.
    """
    once: dict[str, Prepared] = {}
    for digest, prepared in images:
        known = once.setdefault(digest, prepared)
        once[digest] = min(known, prepared, key=lambda each: each.cached_tokens)
    return Usage(
        image_tokens=sum(prepared.image_tokens for prepared in once.values()),
        text_tokens=text_tokens,
        cached_tokens=sum(prepared.cached_tokens for prepared in once.values()),
    )
