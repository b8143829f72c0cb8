"""Loads a checkpoint: finds its files, and the class that runs its architecture."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from blip_serve.architectures import ARCHITECTURES
from blip_serve.catalogue import ModelCard
from blip_serve.domain import AnyModel
from blip_serve.errors import CheckpointError
from blip_serve.images.decode import Decoder
from blip_serve.models.files import find_folder, read_json
from blip_serve.settings import ModelSettings, Settings
from blip_serve.telemetry import Telemetry

CHECK_DEVICE = "blip_serve.models.device:check_device"
"""Imported when first needed, since it imports torch."""

Loader = Callable[[ModelSettings, ModelCard], tuple[AnyModel, ModelCard]]
"""Loads a model. Returns it, and its card with what only the checkpoint says. Raises as `open_checkpoint`."""


def loader(settings: Settings, telemetry: Telemetry) -> Loader:
    """A function that loads checkpoints by these settings."""
    decoder = Decoder(settings.images, settings.server.request_timeout_s)

    def load(model: ModelSettings, card: ModelCard) -> tuple[AnyModel, ModelCard]:
        folder = (
            card.folder
            if model.source is None and card.folder
            else find_folder(model.source or model.id, model.revision)
        )
        name = _architecture(folder)
        if name not in ARCHITECTURES:
            raise CheckpointError(folder / "config.json", f"architectures: {name} is not served")
        loaded = _imported(ARCHITECTURES[name].model).load(folder, card, settings, decoder, telemetry)
        return loaded, loaded.card

    return load


def check_device(settings: Settings) -> None:
    """Raises `ConfigurationError` if the device that the settings name is missing: no model could ever be loaded."""
    if settings.device == "cuda":  # the other devices need no check, and torch takes seconds to import
        _imported(CHECK_DEVICE)(settings)


def _imported(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def _architecture(folder: Path) -> str:
    names = read_json(folder / "config.json").get("architectures")
    return str(names[0]) if isinstance(names, list) and names else "none"
