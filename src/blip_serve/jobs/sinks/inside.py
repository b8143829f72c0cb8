"""Turns a row's key into a path inside a folder. Knows no format."""

import os
import unicodedata
from pathlib import Path

from blip_serve.errors import InvalidInput

_MAX_NAME_BYTES = 240
"""Leaves room for the name under which a file is written; file systems hold 255."""
_MAX_PATH_BYTES = 3800
"""Of the whole path; Linux holds 4,096."""


def inside(folder: Path, key: str) -> Path:
    """The path of `key` below `folder`, whose links are followed only inside it. `folder` has no links itself.

    Raises `InvalidInput` (`invalid_path`) for a key that names no file there: `..`, an absolute path, one that is too
    long or holds a control character, one through a link that leads out, or through a file.
    """
    names = key.split("/")
    if any(name in ("", ".", "..") for name in names):
        raise outside(key, "is not a path below the destination")
    if any(unicodedata.category(each) == "Cc" for each in key):
        raise outside(key, "holds a control character")
    path = folder / key
    if max(len(os.fsencode(name)) for name in names) > _MAX_NAME_BYTES or len(os.fsencode(path)) > _MAX_PATH_BYTES:
        raise outside(key, "is too long for a file's name")
    return path


def check_parent(folder: Path, parent: Path, key: str) -> None:
    """Raises `InvalidInput` if files in `parent` would not be inside `folder`, or if it cannot be a folder."""
    if not Path(os.path.realpath(parent)).is_relative_to(folder):
        raise outside(key, "leads through a link out of the destination")
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise outside(key, "leads through a file, as if it were a folder")


def outside(key: str, why: str) -> InvalidInput:
    """The error for a key that no file can be named by."""
    return InvalidInput(f"The row's key, {key[:200]!r}, {why}.", code="invalid_path", param="key")
