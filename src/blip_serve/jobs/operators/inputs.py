"""What an operator reads of a row: its picture, and texts or numbers of its columns. Errors name the column."""

import math
from typing import Any

from blip_serve.domain import Caption
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import BytesImage
from blip_serve.jobs.rows import Row

IMAGE = "image"
"""What an error of the picture names."""
KINDS = {bool: "a boolean", int: "a number", float: "a number", str: "a text", list: "a list", dict: "an object"}


def picture_of(picture: BytesImage | None) -> BytesImage:
    """The row's picture, under the name `image`. A row without one does not come so far."""
    assert picture is not None
    return BytesImage(picture.data, IMAGE)


def text_of(row: Row, column: str) -> Caption:
    """The text of a column. Raises `InvalidInput` if it is missing, blank, or no text."""
    return _text(_value(row, column), column)


def texts_of(row: Row, column: str) -> tuple[Caption, ...]:
    """The texts of a column that holds one text, or a list of them. Raises `InvalidInput` as `text_of` does."""
    value = _value(row, column)
    if not isinstance(value, list | tuple):
        return (_text(value, column),)
    if not value:
        raise InvalidInput(f"The list in column '{column}' is empty.", code="empty_input", param=column)
    return tuple(_text(each, f"{column}[{i}]") for i, each in enumerate(value))


def holds_list(row: Row, column: str) -> bool:
    """Whether a column of the row holds a list."""
    return isinstance(row.fields.get(column), list | tuple)


def number_of(row: Row, column: str) -> float:
    """The number of a column. Raises `InvalidInput` if it is missing, no number, or not finite."""
    value = _value(row, column)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _unexpected(value, column, "a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InvalidInput(
            f"The number in column '{column}' is not finite, or too large.", code="invalid_number", param=column
        )
    return number


def _value(row: Row, column: str) -> Any:
    value = row.fields.get(column)
    if value is None:
        fault = "is empty here" if column in row.fields else "is missing here"
        raise InvalidInput(f"The column '{column}' {fault}.", code="missing_column", param=column)
    return value


def _text(value: Any, column: str) -> Caption:
    if not isinstance(value, str):
        raise _unexpected(value, column, "a text")
    if not value.strip():
        raise InvalidInput(f"The text in column '{column}' is blank.", code="empty_input", param=column)
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a pair of surrogates, which JSON can escape
        raise InvalidInput(f"The text in column '{column}' is no Unicode.", code="invalid_text", param=column) from None
    return Caption(value, column)


def _unexpected(value: Any, column: str, expected: str) -> InvalidInput:
    kind = KINDS.get(type(value), "something else")
    return InvalidInput(
        f"The column '{column}' holds {kind}; {expected} is expected.", code="invalid_type", param=column
    )
