"""Loads a checkpoint: its files, the class for its architecture (the table is here)."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from blip_serve.catalogue import ModelCard
from blip_serve.domain import AnyModel
from blip_serve.errors import CheckpointError
from blip_serve.images.decode import Decoder
from blip_serve.models.files import find_folder, read_json
from blip_serve.settings import ModelSettings, Settings
from blip_serve.telemetry import Telemetry

MODEL_CLASSES = {
    "BlipForImageTextRetrieval": "blip_serve.models.matcher:Matcher",
    "BlipForConditionalGeneration": "blip_serve.models.captioner:Captioner",
    "BlipForQuestionAnswering": "blip_serve.models.answerer:Answerer",
}
"""Architecture of a configuration to the class that runs it; imported when first needed, and torch with it."""

Loader = Callable[[ModelSettings, ModelCard], tuple[AnyModel, ModelCard]]
"""Loads a model, and completes its card with what only the checkpoint says. Raises as `open_checkpoint`."""


def loader(settings: Settings, telemetry: Telemetry) -> Loader:
    """What loads a checkpoint: finds its files, and the class for its architecture in the table."""
    decoder = Decoder(settings.images, settings.server.request_timeout_s)

    def load(model: ModelSettings, card: ModelCard) -> tuple[AnyModel, ModelCard]:
        folder = (
            card.folder
            if model.source is None and card.folder
            else find_folder(model.source or model.id, model.revision)
        )
        path = MODEL_CLASSES.get(architecture := _architecture(folder))
        if path is None:
            raise CheckpointError(folder / "config.json", f"architectures: {architecture} is not served")
        module, _, name = path.partition(":")
        loaded = getattr(import_module(module), name).load(folder, card, settings, decoder, telemetry)
        return loaded, loaded.card

    return load


def _architecture(folder: Path) -> str:
    names = read_json(folder / "config.json").get("architectures")
    return str(names[0]) if isinstance(names, list) and names else "none"
