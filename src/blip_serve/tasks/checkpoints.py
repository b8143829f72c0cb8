"""The models that the settings list, and their files, without a running service."""

from pathlib import Path
from typing import Any, Literal

from blip_serve.calibration import Identity
from blip_serve.directory import Directory, Known, ModelStatus, list_models
from blip_serve.errors import CheckpointError, InvalidInput
from blip_serve.fit import Fit
from blip_serve.lazily import imported
from blip_serve.models.files import architecture_of, is_folder
from blip_serve.models.hub import Tell, cached_folder, find_folder
from blip_serve.settings import Settings

CONVERT, FITTING = "blip_serve.models.convert:write_folder", "blip_serve.models.fitting:fits"
IDENTITY = "blip_serve.loading:identity"
"""Imported when they are needed, since they import torch or Pillow."""

__all__ = ["fetch", "fits", "here", "identity_of", "list_models", "where", "write_folder"]


def where(status: ModelStatus) -> Literal["embedded", "folder", "cached", "on the hub"]:
    """Where a model's files are: in the package, in a folder, in the hub's cache, or not yet downloaded."""
    if _embedded(status):
        return "embedded"
    if is_folder(status.source):
        return "folder"
    return "cached" if cached_folder(status.source, status.revision) else "on the hub"


def fetch(name: str, settings: Settings, tell: Tell) -> Path:
    """The folder with the files of a model of the settings or the catalogue, or of any other checkpoint.

    That one is a folder, or a hub id, perhaps with `@revision`. What is on the hub is downloaded into its cache; see
    `find_folder`, also for `tell` and what is raised.
    """
    try:
        status = Directory(settings, Known).status(name)
    except InvalidInput:  # the settings do not know it
        source, _, revision = name.partition("@")
        return find_folder(source, revision or None, settings.data, tell)
    return _embedded(status) or find_folder(status.source, status.revision, settings.data, tell)


def identity_of(name: str, settings: Settings, tell: Tell) -> Identity:
    """What decides a model's scores here. Raises as `fetch` and `loading.identity`."""
    found: Identity = imported(IDENTITY)(fetch(name, settings, tell), settings)
    return found


def write_folder(source: Path, like: Path, to: Path) -> None:
    """Writes a checkpoint in the hub's layout. See `models/convert.py`."""
    imported(CONVERT)(source, like, to)


def fits(settings: Settings) -> list[tuple[ModelStatus, list[Fit]]]:
    """What each model takes of memory in each number type, whether it fits here, and how fast it should be.

    Measures for 5 seconds and downloads nothing: what is not here is computed from its card. A model of which neither
    is here has no fits, nor has one whose configuration cannot be read.
    """
    models = [status for status in list_models(settings) if status.parent is None]
    asked = [(status, _kind(status)) for status in models]
    given = [(kind, here(status), status.card.shape, status.preload) for status, kind in asked if kind is not None]
    found = iter(imported(FITTING)(given, settings))
    return [(status, [] if kind is None else next(found)) for status, kind in asked]


def here(status: ModelStatus) -> Path | None:
    """The folder with a model's files, if they need not be downloaded."""
    if is_folder(status.source):
        return Path(status.source).expanduser()
    return _embedded(status) or cached_folder(status.source, status.revision)


def _kind(status: ModelStatus) -> Any:
    """The class that runs a model. `None` if it is not known, or nothing tells the model's sizes."""
    folder = here(status)
    try:
        architecture = status.card.architecture if folder is None else architecture_of(folder)
    except CheckpointError:
        return None
    known = folder is not None or status.card.shape is not None
    return imported(architecture.model) if architecture is not None and known else None


def _embedded(status: ModelStatus) -> Path | None:
    return status.card.folder if status.source == (status.parent or status.id) else None
