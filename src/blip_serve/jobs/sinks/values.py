"""Checks of the values that sinks write. Knows no format."""

from blip_serve.errors import InvalidInput


def wrong_type(name: str, expected: str) -> InvalidInput:
    """The error for a value that does not fit its column."""
    message = f"The row's value in the column {name!r} is not {expected}."
    return InvalidInput(message, code="column_type", param=name[:100])


def is_text(value: object) -> bool:
    """Whether `value` is a text that UTF-8 can hold. The name of a file may be none."""
    if not isinstance(value, str):
        return False
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False


def text_lines(name: str, value: object) -> list[str]:
    """The texts of a column that is a text or a list of texts, each as one line. Raises `InvalidInput`."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(is_text(text) for text in texts):
        raise wrong_type(name, "a text or a list of texts")
    return [" ".join(text.split()) for text in texts]
