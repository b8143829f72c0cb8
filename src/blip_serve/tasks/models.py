"""The models of some settings, without running them."""

from typing import Literal

from blip_serve.directory import ModelStatus, list_models
from blip_serve.models.files import is_cached, is_folder

__all__ = ["list_models", "where"]


def where(status: ModelStatus) -> Literal["embedded", "folder", "cached", "on the hub"]:
    """Where a model's files are: in the package, in a folder, in the hub's cache, or yet to be downloaded."""
    if status.card.folder is not None and status.source == status.id:
        return "embedded"
    if is_folder(status.source):
        return "folder"
    return "cached" if is_cached(status.source, status.revision) else "on the hub"
