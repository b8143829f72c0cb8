"""A row as the columns that are written. Knows no format."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from blip_serve.jobs.rows import KEY, Fields, Row

T = TypeVar("T")


def record(row: Row, fields: Fields, known: Collection[str], reserved: Collection[str] = (KEY,)) -> dict[str, Any]:
    """The row's columns: its key, then its fields in their order. `known`: as for `without`."""
    return {KEY: row.key, **without(fields, reserved, known)}


def without(columns: Mapping[str, T], reserved: Collection[str], known: Collection[str]) -> dict[str, T]:
    """The columns, with other names for those that are `reserved`: `key` of a source becomes `source_key`.

    `known`: all columns that rows may have, as far as they are known. The name of one of these is the same for each
    row, whatever else the row has.
    """
    if {*known, *columns}.isdisjoint(reserved):
        return dict(columns)
    return renamed(columns, known, lambda name: f"source_{name}" if name in reserved else name, reserved)


def renamed(
    columns: Mapping[str, T], known: Collection[str], other: Callable[[str], str], reserved: Collection[str] = ()
) -> dict[str, T]:
    """The columns under the names that `other` gives them, with `source_` before one that is taken."""
    names: dict[str, str] = {}
    for some in (known, columns.keys() - set(known)):
        used = set(names.values())
        taken = {*some, *used, *reserved}
        for name in sorted(some):
            wanted = other(name) if name not in used else f"source_{name}"
            names[name] = name if wanted == name else _free(wanted, taken)
            taken.add(names[name])
    return {names[name]: value for name, value in columns.items()}


def _free(name: str, taken: Collection[str]) -> str:
    return _free(f"source_{name}", taken) if name in taken else name
