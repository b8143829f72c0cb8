"""Reads one JSON object strictly, within bounds of depth and of values."""

import json
import re
from typing import Any

MAX_DEPTH = 64
MAX_VALUES = 1_000_000
"""Values of a row. Each takes up to 60 bytes of memory, from two bytes of text."""
_FEW = 64
"""So many brackets cannot be deeper than `MAX_DEPTH`."""
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class NotAnObject(Exception):
    """The text is no JSON object that can be read. The message says why."""


def json_object(data: bytes) -> dict[str, Any]:
    """The object in `data`. Raises `NotAnObject` with the reason."""
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > MAX_VALUES:
        raise NotAnObject(f"more than {MAX_VALUES} values")
    try:
        found = json.loads(data.decode("utf-8"), parse_constant=_no_number, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise NotAnObject(f"no UTF-8 (byte {error.start} of the row)") from None
    except json.JSONDecodeError as error:
        raise NotAnObject(f"no JSON ({error.msg}, character {error.pos + 1} of the row)") from None
    except ValueError as error:  # a number of thousands of digits, or not finite
        raise NotAnObject(str(error).partition(";")[0]) from None
    except RecursionError:
        raise NotAnObject("nested too deeply") from None
    if not isinstance(found, dict):
        raise NotAnObject("no JSON object")
    _check(found, data)
    return found


def _check(found: dict[str, Any], data: bytes) -> None:
    if data.count(b"[") + data.count(b"{") > _FEW and _is_deep(found):
        raise NotAnObject(f"nested more than {MAX_DEPTH} deep")
    if _SURROGATE.search(data):
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise NotAnObject("half of a surrogate pair, which is no character") from None


def _is_deep(found: dict[str, Any]) -> bool:
    level: list[Any] = [found]
    for _ in range(MAX_DEPTH):
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [value for values in inner for value in values if isinstance(value, dict | list)]
        if not level:
            return False
    return True


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def _finite(text: str) -> float:
    if abs(number := float(text)) == float("inf"):
        raise ValueError("a number too large")
    return number
