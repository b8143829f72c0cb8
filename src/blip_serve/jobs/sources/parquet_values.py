"""The values of Parquet columns as JSON can hold them, within bounds, and the types of columns."""

import math
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from pyarrow import types

from blip_serve.jobs.rows import ColumnType
from blip_serve.jobs.sources.strict_json import MAX_VALUES

FAILURES = (pa.ArrowException, ArithmeticError, ImportError, LookupError, OSError, TypeError, ValueError)
"""What pyarrow raises for damaged files and for values that Python cannot hold."""


class TooLarge(Exception):
    """The row is over a bound."""


def column_type(kind: Any) -> ColumnType:
    """The type of a column. Dates and decimals are texts. Nested and unknown types are `json`."""
    if types.is_dictionary(kind):
        return column_type(kind.value_type)
    if _is_list(kind):
        if types.is_float32(kind.value_type):
            return "vector"
        return _LISTS.get(column_type(kind.value_type), "json")
    if types.is_uint64(kind):
        return "json"
    for check, name in _SCALARS:
        if check(kind):
            return name
    return "json"


def is_bytes(kind: Any) -> bool:
    """Whether a column holds bytes: of pictures, or else of nothing that a field could hold.

    `datasets` writes an image as a struct of `bytes` and `path`.
    """
    if types.is_dictionary(kind):
        return is_bytes(kind.value_type)
    if types.is_struct(kind):
        return any(each.name == "bytes" and is_bytes(each.type) for each in kind)
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


class BatchRows:
    """The rows of a record batch by column. All are made at once if that is sure to be small, or else one by one."""

    def __init__(self, batch: Any, max_bytes: int) -> None:
        self._batch, self._max_bytes = batch, max_bytes
        self._made: list[dict[str, Any]] | None = None
        self._tried = False

    def record(self, row: int) -> dict[str, Any]:
        """A row. Raises `TooLarge` before it is made, and errors of pyarrow and of Python."""
        if not self._tried:
            self._tried = True
            self._made = self._all()
        return self._one(row) if self._made is None else self._made[row]

    def _all(self) -> list[dict[str, Any]] | None:
        columns = dict(zip(self._batch.schema.names, self._batch.columns, strict=True))
        if _too_large(columns, self._max_bytes):
            return None
        try:
            made = {name: _plain_column(column) for name, column in columns.items()}
        except FAILURES:
            return None
        return [dict(zip(made, values, strict=True)) for values in zip(*made.values(), strict=True)]

    def _one(self, row: int) -> dict[str, Any]:
        columns = {name: _alone(self._batch.column(name).slice(row, 1)) for name in self._batch.schema.names}
        if reason := _too_large(columns, self._max_bytes):
            raise TooLarge(reason)
        return {name: _plain_column(column)[0] for name, column in columns.items()}


def _too_large(columns: Mapping[str, Any], max_bytes: int) -> str | None:
    if sum(_bytes(column) for column in columns.values()) > max_bytes:
        return f"more than {max_bytes} bytes"
    if sum(_values(column) for column in columns.values()) > MAX_VALUES:
        return f"more than {MAX_VALUES} values"
    return None


def _plain_column(column: Any) -> list[Any]:
    values: list[Any] = column.to_pylist()
    kind = column.type
    if is_bytes(kind) or _is_plain(kind):
        return values
    return [plain(value) for value in values]


def plain(value: Any) -> Any:
    """A value as JSON can hold it: dates and decimals as text; NaN and bytes as nothing."""
    if isinstance(value, str | bool | int):
        return value
    if value is None or isinstance(value, bytes):
        return None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return str(value)


def _is_plain(kind: Any) -> bool:
    """Whether all values of a type are such as `plain` makes."""
    if types.is_dictionary(kind) or _is_list(kind):
        return _is_plain(kind.value_type)
    return any(check(kind) for check in (types.is_string, types.is_large_string, types.is_boolean, types.is_integer))


def _alone(column: Any) -> Any:
    """One value without the dictionary of all."""
    return column.dictionary_decode() if types.is_dictionary(column.type) else column


def _bytes(column: Any) -> int:
    """At most so many bytes, once each value stands alone."""
    return int(column.dictionary.nbytes * len(column) if types.is_dictionary(column.type) else column.nbytes)


def _values(column: Any) -> int:
    kind = column.type
    if types.is_struct(kind):
        return sum(_values(each) for each in column.flatten())
    if types.is_map(kind):  # `flatten` takes no maps
        first, last = column.offsets[0].as_py(), column.offsets[-1].as_py()
        return sum(_values(each.slice(first, last - first)) for each in (column.keys, column.items))
    if _is_list(kind):
        return _values(column.flatten())
    return len(column)


def _is_list(kind: Any) -> bool:
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


_SCALARS: tuple[tuple[Any, ColumnType], ...] = (
    (types.is_string, "string"),
    (types.is_large_string, "string"),
    (types.is_boolean, "boolean"),
    (types.is_integer, "integer"),
    (types.is_floating, "number"),
    (types.is_date, "string"),
    (types.is_time, "string"),
    (types.is_timestamp, "string"),
    (types.is_duration, "string"),
    (types.is_decimal, "string"),
)
_LISTS: Mapping[ColumnType, ColumnType] = {"string": "strings", "integer": "integers", "number": "numbers"}
