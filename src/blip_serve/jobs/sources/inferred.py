"""The types of columns, told by the values of a few rows."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from blip_serve.jobs.rows import ColumnType, Row

LOOKED_AT = 1000
"""Rows."""
_WIDER: Mapping[frozenset[ColumnType], ColumnType] = {
    frozenset({"integer", "number"}): "number",
    frozenset({"integers", "numbers"}): "numbers",
}
_SCALARS: Mapping[type, ColumnType] = {str: "string", bool: "boolean", int: "integer", float: "number"}
_LISTS: Mapping[ColumnType, ColumnType] = {"string": "strings", "integer": "integers", "number": "numbers"}


def columns_of(rows: Iterable[Row]) -> dict[str, ColumnType]:
    """The columns of the first 1,000 rows. A column of several types is `json`, and one without values a `string`."""
    found: dict[str, ColumnType | None] = {}
    for row in islice(rows, LOOKED_AT):
        for name, value in row.fields.items():
            found[name] = _both(found.get(name), type_of(value))
    return {name: kind or "string" for name, kind in found.items()}


def type_of(value: Any) -> ColumnType | None:
    """The type of a value. `None` for no value."""
    if value is None:
        return None
    if isinstance(value, list):
        return _LISTS.get(_all(value) or "json", "json")
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return "json"
    return _SCALARS.get(type(value), "json")


def _all(values: list[Any]) -> ColumnType | None:
    """The type that all values have; `json` if one of them has none."""
    kind: ColumnType | None = None
    for value in values:
        kind = _both(kind, type_of(value) or "json")
        if kind == "json":
            break
    return kind


def _both(one: ColumnType | None, other: ColumnType | None) -> ColumnType | None:
    if one is None or other is None or one == other:
        return one or other
    return _WIDER.get(frozenset({one, other}), "json")
