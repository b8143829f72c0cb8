"""Loads a checkpoint: finds its files, says what it will take of memory, and loads it by its architecture's class."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from blip_serve.calibration import Identity, by_protocol
from blip_serve.catalogue import ModelCard
from blip_serve.domain import AnyModel
from blip_serve.images.decode import Decoder
from blip_serve.lazily import imported
from blip_serve.memory import Footprint
from blip_serve.models.digests import checkpoint_digest, file_digests
from blip_serve.models.files import architecture_of, is_folder
from blip_serve.settings import ModelSettings, Settings
from blip_serve.telemetry import Telemetry

CHECK_DEVICE, NUMBER_TYPE = "blip_serve.models.device:check_device", "blip_serve.models.device:number_type"
BUDGET = "blip_serve.models.budget:budget"
GIVE_BACK = "blip_serve.models.device:give_back"
FOOTPRINT = "blip_serve.models.footprint:footprint_of"
"""Imported when first needed, since they import torch."""
FIND_FOLDER = "blip_serve.models.hub:find_folder"
"""Imported for a model that is not in a local folder, since it imports the hub's client."""

Loaded = tuple[AnyModel, ModelCard]
"""A model, and its card with what only the checkpoint says."""


@dataclass(frozen=True, slots=True)
class Found:
    """A checkpoint whose files are here and of which nothing is in memory.

    `load` raises what `open_checkpoint` raises, and `ConfigurationError` for a calibration made for another model.
    """

    footprint: Footprint
    load: Callable[[], Loaded]


class Loader(Protocol):
    """Loads models. Any thread may call it; every call may take long."""

    def budget(self) -> int:
        """Bytes that all models together may hold. Raises `ConfigurationError` if the device is missing."""
        ...

    def find(self, model: ModelSettings, card: ModelCard) -> Found:
        """Finds a model's files, and downloads them if need be. Raises `CheckpointError` and `ConfigurationError`."""
        ...

    def give_back(self) -> None:
        """Returns what unloaded models held to the system, or to the device."""
        ...


class CheckpointLoader:
    """Loads checkpoints by the settings."""

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._decoder = Decoder(settings.images, settings.server.request_timeout_s)

    def budget(self) -> int:
        """See `Loader`."""
        found: int = imported(BUDGET)(self._settings)
        return found

    def find(self, model: ModelSettings, card: ModelCard) -> Found:
        """See `Loader`."""
        folder = self._folder(model, card)
        kind = imported(architecture_of(folder).model)
        return Found(
            imported(FOOTPRINT)(kind, folder, self._settings),
            lambda: self._load(kind, folder, model, card),
        )

    def give_back(self) -> None:
        """See `Loader`."""
        imported(GIVE_BACK)()

    def _folder(self, model: ModelSettings, card: ModelCard) -> Path:
        """Where a model's files are. Raises as `find`."""
        if model.source is None and card.folder:
            return card.folder
        source = model.source or model.id
        if is_folder(source):
            return Path(source).expanduser()
        found: Path = imported(FIND_FOLDER)(source, model.revision, self._settings.data, self._tell)
        return found

    def _tell(self, reason: str) -> None:
        self._telemetry.log.warning("download_not_recorded", reason=reason)

    def _load(self, kind: Any, folder: Path, model: ModelSettings, card: ModelCard) -> Loaded:
        if model.calibration:
            known = by_protocol(model.calibration, identity(folder, self._settings))
            card = replace(card, calibrations=known)
        loaded = kind.load(folder, card, self._settings, self._decoder, self._telemetry)
        return loaded, loaded.card


def check_device(settings: Settings) -> None:
    """Raises `ConfigurationError` if the device that the settings name is missing: no model could ever be loaded."""
    if settings.device == "cuda":  # the other devices need no check, and torch takes seconds to import
        imported(CHECK_DEVICE)(settings)


def number_type(settings: Settings) -> str:
    """The number type that models compute in here, such as `float32`. Raises `ConfigurationError` as `check_device`."""
    return str(imported(NUMBER_TYPE)(settings))


def identity(folder: Path, settings: Settings) -> Identity:
    """What will decide the scores of the checkpoint in `folder`. Reads its files whole, a second for each gigabyte.

    Raises `CheckpointError` naming the file, and `ConfigurationError` as `number_type`.
    """
    return Identity(checkpoint_digest(file_digests(folder)), number_type(settings))
