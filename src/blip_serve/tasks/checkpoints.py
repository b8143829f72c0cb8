"""The models of some settings, without running them."""

from pathlib import Path
from typing import Literal

from blip_serve.directory import ModelStatus, list_models
from blip_serve.models.files import find_folder, is_cached, is_folder

__all__ = ["fetch", "list_models", "where"]


def where(status: ModelStatus) -> Literal["embedded", "folder", "cached", "on the hub"]:
    """Where a model's files are: in the package, in a folder, in the hub's cache, or yet to be downloaded."""
    if _embedded(status):
        return "embedded"
    if is_folder(status.source):
        return "folder"
    return "cached" if is_cached(status.source, status.revision) else "on the hub"


def fetch(status: ModelStatus) -> Path:
    """The folder of a model's files, downloaded into the hub's cache if need be. Raises `CheckpointError`."""
    return _embedded(status) or find_folder(status.source, status.revision)


def _embedded(status: ModelStatus) -> Path | None:
    return status.card.folder if status.source == (status.parent or status.id) else None
