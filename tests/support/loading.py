"""Loads a checkpoint as the service does."""

from pathlib import Path
from typing import Any

from blip_serve.catalogue import ModelCard
from blip_serve.images.decode import Decoder
from blip_serve.models.matcher import Matcher
from blip_serve.settings import LogSettings, Settings
from blip_serve.telemetry import Telemetry


def load_matcher(folder: Path, **settings: Any) -> Matcher:
    """The checkpoint in `folder` on the CPU, in float32 unless the settings say otherwise."""
    chosen = Settings(**({"device": "cpu", "dtype": "float32"} | settings))
    return Matcher.load(
        folder, ModelCard("test"), chosen, Decoder(chosen.images), Telemetry(LogSettings(level="error"))
    )
