"""Columns of fixed types, as Arrow holds them: what fits, and how many bytes it takes. Needs pyarrow."""

import json
from array import array
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from blip_serve.jobs.rows import ColumnType
from blip_serve.jobs.sinks.json_line import json_text
from blip_serve.jobs.sinks.values import is_text, wrong_type

IMAGE = "image"
_ARROW: Mapping[ColumnType, Any] = MappingProxyType(
    {
        "string": pa.string(),
        "strings": pa.list_(pa.string()),
        "number": pa.float64(),
        "numbers": pa.list_(pa.float64()),
        "vector": pa.list_(pa.float32()),
        "integer": pa.int64(),
        "integers": pa.list_(pa.int64()),
        "boolean": pa.bool_(),
        "json": pa.string(),
    }
)
_FEATURES: Mapping[ColumnType, str] = MappingProxyType(
    {
        "string": "string",
        "strings": "string",
        "number": "float64",
        "numbers": "float64",
        "vector": "float32",
        "integer": "int64",
        "integers": "int64",
        "boolean": "bool",
        "json": "string",
    }
)
_LISTS: frozenset[ColumnType] = frozenset({"strings", "numbers", "vector", "integers"})


def schema(columns: Mapping[str, ColumnType], pictures: bool) -> Any:
    """The Arrow schema. With pictures, `datasets` reads the column `image` as an `Image`: its metadata say so.

    The metadata are those of `datasets.arrow_writer`. `Sequence` is what its versions before 4 call a `List`; later
    ones read it as that.
    """
    fields = [pa.field(name, _ARROW[kind]) for name, kind in columns.items()]
    features = {name: _feature(kind) for name, kind in columns.items()}
    if pictures:
        fields.append(pa.field(IMAGE, pa.struct({"bytes": pa.binary(), "path": pa.string()})))
        features[IMAGE] = {"_type": "Image"}
    return pa.schema(fields, {"huggingface": json.dumps({"info": {"features": features}})})


def fitting(name: str, kind: ColumnType, value: Any) -> Any:
    """The value as its column holds it. Raises `InvalidInput` (`column_type`) if it does not fit."""
    if value is None:
        return None
    if kind == "json":
        return json_text(name, value)
    expected, fits, convert = _CHECKS[kind]
    if not fits(value):
        raise wrong_type(name, expected)
    try:
        return convert(value)
    except (TypeError, OverflowError) as error:
        raise wrong_type(name, expected) from error


def size(value: Any) -> int:
    """About how many bytes a value that fits takes."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, array):
        return len(value) * value.itemsize
    return sum(map(size, value)) if isinstance(value, list) else 8


def arrow(kind: ColumnType, values: Sequence[Any]) -> Any:
    """An Arrow array of values that fit."""
    return _vectors(values) if kind == "vector" else pa.array(values, _ARROW[kind])


def _feature(kind: ColumnType) -> dict[str, Any]:
    value = {"dtype": _FEATURES[kind], "_type": "Value"}
    return {"feature": value, "_type": "Sequence"} if kind in _LISTS else value


def _vectors(values: Sequence["array[float] | None"]) -> Any:
    """Copies the numbers as they lie in memory: a Python object for each would take ten times as long."""
    offsets: list[int | None] = []
    end = 0
    for value in values:
        offsets.append(None if value is None else end)
        end += len(value or ())
    joined = pa.py_buffer(b"".join(value for value in values if value is not None))
    numbers = pa.Array.from_buffers(pa.float32(), end, [None, joined])
    return pa.ListArray.from_arrays(pa.array([*offsets, end], pa.int32()), numbers)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _list_of(fits: Callable[[object], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _as_is(value: Any) -> Any:
    return value


_CHECKS: Mapping[ColumnType, tuple[str, Callable[[Any], bool], Callable[[Any], Any]]] = MappingProxyType(
    {
        "string": ("a text", is_text, _as_is),
        "strings": ("a list of texts", _list_of(is_text), _as_is),
        "number": ("a number", _is_number, float),
        "numbers": ("a list of numbers", _list_of(_is_number), lambda value: [float(each) for each in value]),
        "vector": ("a list of numbers", lambda value: isinstance(value, list), lambda value: array("f", value)),
        "integer": ("a whole number of 64 bits", _is_integer, _as_is),
        "integers": ("a list of whole numbers of 64 bits", _list_of(_is_integer), _as_is),
        "boolean": ("true or false", lambda value: isinstance(value, bool), _as_is),
    }
)
"""For each type: what it holds in words, whether a value fits, and how it is kept until it is written."""
