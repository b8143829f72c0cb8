"""Loads a checkpoint as the service does."""

from pathlib import Path
from typing import Any, TypeVar

from blip_serve.catalogue import ModelCard
from blip_serve.images.decode import Decoder
from blip_serve.models.answerer import Answerer
from blip_serve.models.captioner import Captioner
from blip_serve.models.matcher import Matcher
from blip_serve.settings import LogSettings, Settings
from blip_serve.telemetry import Telemetry

M = TypeVar("M", Matcher, Captioner, Answerer)


def load(model: type[M], folder: Path, **settings: Any) -> M:
    """The checkpoint in `folder` on the CPU, in float32 unless the settings say otherwise."""
    chosen = Settings(**({"device": "cpu", "dtype": "float32"} | settings))
    return model.load(folder, ModelCard("test"), chosen, Decoder(chosen.images), Telemetry(LogSettings(level="error")))


def load_matcher(folder: Path, **settings: Any) -> Matcher:
    """A retrieval checkpoint."""
    return load(Matcher, folder, **settings)
