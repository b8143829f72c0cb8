"""A row as a line of JSON. Knows no file."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from blip_serve.errors import InvalidInput
from blip_serve.jobs.rows import ColumnType
from blip_serve.jobs.sinks.values import wrong_type


def json_line(record: Mapping[str, Any], columns: Mapping[str, ColumnType]) -> bytes:
    """One line, in the order of `record`. Each number reads back as it was: a `vector`'s, as float32.

    Raises `InvalidInput` for a value that JSON cannot hold: `not_finite` for NaN and infinity, else `column_type`.
    """
    line = "{" + ", ".join(_members(record, columns)) + "}\n"
    try:
        return line.encode()
    except UnicodeEncodeError:  # the name of a file that is not UTF-8; JSON has escapes for what it holds
        return json.dumps(json.loads(line)).encode() + b"\n"


def json_text(name: str, value: object) -> str:
    """A column's value. Raises as `json_line`."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except TypeError as error:
        raise wrong_type(name, "what JSON can hold") from error
    except (ValueError, RecursionError) as error:
        raise _not_finite(name) from error


def _members(record: Mapping[str, Any], columns: Mapping[str, ColumnType]) -> Iterator[str]:
    for name, value in record.items():
        vector = columns.get(name) == "vector" and value is not None
        text = _vector(name, value) if vector else json_text(name, value)
        yield f"{json.dumps(name, ensure_ascii=False)}: {text}"


def _vector(name: str, value: Any) -> str:
    """Nine digits tell any two float32 apart. The shortest digits that do would take numpy three times as long."""
    try:
        text = ",".join(["%.9g"] * len(value)) % tuple(value)
    except TypeError as error:
        raise wrong_type(name, "a list of numbers") from error
    if "n" in text:  # of nan and inf
        raise _not_finite(name)
    return f"[{text}]"


def _not_finite(name: str) -> InvalidInput:
    message = f"The row's value in the column {name!r} holds NaN or infinity."
    return InvalidInput(message, code="not_finite", param=name[:100])
