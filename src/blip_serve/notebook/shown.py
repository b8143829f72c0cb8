"""Results that a notebook shows: they are the tasks' own results, with `_repr_html_`."""

from collections.abc import Callable
from dataclasses import fields
from functools import cache, partial
from typing import Any, TypeVar, cast

from blip_serve.tasks.request import Result

R = TypeVar("R", bound=Result)


def shown(result: R, html: Callable[[R], str]) -> R:
    """The result with `_repr_html_`, which is `html` of it. It is of the result's type, and equal to it.

    It is pickled and copied without `html`, as the task's own result.
    """
    kind: Any = type(result)
    found = _shown_kind(kind)(**_values(result))
    object.__setattr__(found, "_html", html)
    return cast(R, found)


class _Shown:
    """Mixed into a type of results. `_html`: makes a result's HTML."""

    __slots__ = ()
    _html: Callable[[Any], str]

    def _repr_html_(self) -> str | None:
        """What Jupyter displays. `None`, which it takes as "no HTML", for what `dataclasses.replace` made."""
        html: Callable[[Any], str] | None = getattr(self, "_html", None)
        return None if html is None else html(self)

    def __eq__(self, other: object) -> bool:
        return _plain(self) == _plain(other)

    def __hash__(self) -> int:
        return hash(_plain(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(_kind_of(self), **_values(self)), ()


@cache
def _shown_kind(kind: type[Result]) -> type[Any]:
    """The type `kind` with `_repr_html_`, by the same name."""
    return type(kind.__name__, (_Shown, kind), {"__slots__": ("_html",), "__doc__": kind.__doc__})


def _kind_of(result: _Shown) -> Callable[..., Any]:
    """The task's own type of a result."""
    return type(result).__bases__[1]


def _plain(result: object) -> object:
    """The task's own result."""
    return _kind_of(result)(**_values(result)) if isinstance(result, _Shown) else result


def _values(result: Any) -> dict[str, Any]:
    return {field.name: getattr(result, field.name) for field in fields(result)}
