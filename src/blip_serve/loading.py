"""Loads a checkpoint: its files, the class for its architecture (the table is here), a thread to do it on."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

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

T = TypeVar("T")
Loader = Callable[[ModelSettings, ModelCard], tuple[AnyModel, ModelCard]]
"""Loads a model, and completes its card with what only the checkpoint says."""


def loader(settings: Settings, telemetry: Telemetry) -> Loader:
    """What loads a checkpoint: finds its files, and the class for its architecture in the table."""
    decoder = Decoder(settings.images)

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


async def in_thread(call: Callable[[], T]) -> T:
    """The result of a call made on a thread of its own, one that a process about to end does not wait for."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def settle(set_it: Callable[[Any], None], value: object) -> None:
        if not result.done():
            set_it(value)

    def run() -> None:
        try:
            value = call()
        except Exception as error:
            outcome: tuple[Callable[[Any], None], object] = (result.set_exception, error)
        except BaseException as error:  # a thread has nobody to exit to
            outcome = (result.set_exception, RuntimeError(repr(error)))
        else:
            outcome = (result.set_result, value)
        with suppress(RuntimeError):  # the loop is gone, and whoever waited with it
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, name="load", daemon=True).start()
    return await result


def _architecture(folder: Path) -> str:
    names = read_json(folder / "config.json").get("architectures")
    return str(names[0]) if isinstance(names, list) and names else "none"
