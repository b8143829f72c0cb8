"""Imports by name, and only when it is needed, what imports torch or an optional package."""

from importlib import import_module
from typing import Any


def imported(path: str) -> Any:
    """What `module:name` names. Raises `ImportError` if a package is missing."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
