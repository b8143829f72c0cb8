"""Reads integers and inner structs out of a struct in Thrift's compact protocol, as Parquet's headers are.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from typing import Any, TypeAlias

Struct: TypeAlias = "dict[tuple[int, int], Any]"
"""Values by number and type of their field: an integer, a struct, a list of structs. A reader that expects another type
takes the field for missing, and so must we."""
I32, I64, LIST, STRUCT = 5, 6, 9, 12
MAX_DEPTH = 8
MAX_ELEMENTS = 100_000
"""Of a list."""
_INTEGERS = (4, I32, I64)
_BINARY, _SET = 8, 10
_FIXED = {3: 1, 7: 8, 13: 16}
"""Bytes of a value, by its type: a byte, a double, a UUID."""


class Damaged(Exception):
    """The bytes are no struct, end inside of it, or lack a field."""


def struct(data: bytes, at: int = 0, depth: int = 0) -> tuple[Struct, int]:
    """The struct at `at`, and where it ends. Raises `Damaged`, also for a field that comes twice."""
    found: Struct = {}
    seen: set[int] = set()
    number = 0
    while head := _byte(data, at):
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _zigzag(data, at)
        if number in seen or depth > MAX_DEPTH:
            raise Damaged("a field twice, or nested too deeply")
        seen.add(number)
        kind = head & 15
        if kind in _INTEGERS:
            found[number, kind], at = _zigzag(data, at)
        elif kind == STRUCT:
            found[number, kind], at = struct(data, at, depth + 1)
        elif kind in (LIST, _SET):
            found[number, kind], at = _list(data, at, depth + 1)
        elif kind > 2:  # the type of a boolean is its value
            at = _skipped(data, at, kind)
    return found, at + 1


def integer(found: Struct, field: int, kind: int) -> int:
    """An integer. Raises `Damaged` if it is missing."""
    if (field, kind) not in found:
        raise Damaged(f"no field {field}")
    return int(found[field, kind])


def structs(found: Struct, field: int) -> list[Struct]:
    """A list of structs. Raises `Damaged` if it is missing."""
    value: list[Struct] | None = found.get((field, LIST))
    if value is None:
        raise Damaged(f"no field {field}")
    return value


def _list(data: bytes, at: int, depth: int) -> tuple[list[Struct], int]:
    """The structs of a list; nothing of one of other values."""
    head = _byte(data, at)
    size, at = _varint(data, at + 1) if head >> 4 == 15 else (head >> 4, at + 1)
    if size > MAX_ELEMENTS or depth > MAX_DEPTH:
        raise Damaged(f"a list of more than {MAX_ELEMENTS}")
    kind, found = head & 15, []
    for _ in range(size):
        if kind == STRUCT:
            each, at = struct(data, at, depth + 1)
            found.append(each)
        else:
            at = _skipped(data, at, kind)
        if at > len(data):
            raise Damaged("cut off")
    return found, at


def _skipped(data: bytes, at: int, kind: int) -> int:
    """Where a value of a list ends, or one that is no integer, struct or list."""
    if kind in _INTEGERS:
        return _varint(data, at)[1]
    if kind in (1, 2):
        return at + 1
    if kind in _FIXED:
        return at + _FIXED[kind]
    if kind != _BINARY:  # Parquet has no maps, and no lists of lists
        raise Damaged("a type that Parquet has not")
    size, at = _varint(data, at)
    return at + size


def _byte(data: bytes, at: int) -> int:
    if at >= len(data):
        raise Damaged("cut off")
    return data[at]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = _byte(data, at)
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise Damaged("a number that is too long")


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return value >> 1 ^ -(value & 1), at
