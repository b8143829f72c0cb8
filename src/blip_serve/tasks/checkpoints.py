"""The models that the settings list, and their files, without a running service."""

from pathlib import Path
from typing import Literal

from blip_serve.directory import ModelStatus, list_models
from blip_serve.models.files import find_folder, is_cached, is_folder

__all__ = ["fetch", "list_models", "where"]


def where(status: ModelStatus) -> Literal["embedded", "folder", "cached", "on the hub"]:
    """Where a model's files are: in the package, in a folder, in the hub's cache, or not yet downloaded."""
    if _embedded(status):
        return "embedded"
    if is_folder(status.source):
        return "folder"
    return "cached" if is_cached(status.source, status.revision) else "on the hub"


def fetch(status: ModelStatus) -> Path:
    """The folder with a model's files. Downloads them into the hub's cache if needed. Raises `CheckpointError`."""
    return _embedded(status) or find_folder(status.source, status.revision)


def _embedded(status: ModelStatus) -> Path | None:
    return status.card.folder if status.source == (status.parent or status.id) else None
