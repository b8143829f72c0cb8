"""What a column says of a picture: bytes, a path, a URL, a data URI. Paths stay under a root."""

import os
import posixpath
from collections.abc import Mapping
from typing import Any

from blip_serve.errors import InvalidInput
from blip_serve.images.local import is_address
from blip_serve.images.reference import (
    Base64Image,
    BytesImage,
    UnreadableImage,
    decode_base64,
    empty_image,
    parse_image,
)
from blip_serve.images.url import unsupported_scheme
from blip_serve.jobs.rows import FilePicture, Picture
from blip_serve.jobs.sources.files import scheme_of


def picture_of(value: Any, root: str, max_bytes: int, column: str) -> Picture | None:
    """The picture that a value stands for. `None` for no value.

    A value is bytes; a text, which is an http(s) URL, a data URI of at most `max_bytes`, or a path under `root`; or a
    mapping of `bytes` and `path`, as Hugging Face's `datasets` writes. Anything else is an `UnreadableImage`, whose
    error names `column`. `root`: a path without links, or a URL.
    """
    if isinstance(value, Mapping):
        value = value.get("path") if value.get("bytes") is None else value["bytes"]
    if value is None:
        return None
    try:
        return _picture(value, root, max_bytes, column)
    except InvalidInput as error:
        return UnreadableImage(error, column)


def _picture(value: Any, root: str, max_bytes: int, column: str) -> Picture:
    if isinstance(value, bytes) and value:
        return BytesImage(value, column)
    if not isinstance(value, bytes | str):
        raise InvalidInput(
            "The column must hold a path, a URL, a data URI or bytes.", code="invalid_type", param=column
        )
    if not value or isinstance(value, bytes):
        raise empty_image(column)
    if is_address(value.lstrip()):
        source = parse_image(value, column)
        if isinstance(source, Base64Image):
            return BytesImage(decode_base64(source, max_bytes), column)
        return source
    if scheme_of(value):
        raise unsupported_scheme(column)
    return FilePicture(_under(root, value, column))


def _under(root: str, path: str, column: str) -> str:
    """`path` below `root`, with links resolved. Raises `InvalidInput` for one that leads elsewhere."""
    if scheme_of(root):
        name = posixpath.normpath(path)
        if "::" in path or "\\" in path or name.startswith(("/", "..")):
            raise _elsewhere(column)
        return f"{root.rstrip('/')}/{name}"
    try:
        resolved = os.path.realpath(os.path.join(root, path))
    except (ValueError, OSError):  # such as a character NUL
        raise InvalidInput("The picture's path is not a path.", code="invalid_path", param=column) from None
    if not resolved.startswith(root.rstrip(os.sep) + os.sep):
        raise _elsewhere(column)
    return resolved


def _elsewhere(column: str) -> InvalidInput:
    return InvalidInput(
        "The picture's path leads out of the data's folder; --root names another folder.",
        code="path_not_allowed",
        param=column,
    )
