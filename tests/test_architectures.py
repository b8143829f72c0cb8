"""The table of architectures."""

import json

import pytest

from blip_serve.architectures import ARCHITECTURES
from blip_serve.catalogue import DEMOS, EMBEDDED, embedded_card
from blip_serve.loading import CheckpointLoader
from blip_serve.settings import ModelSettings, Settings
from blip_serve.telemetry import Telemetry
from tests.support.server import QUIET


@pytest.mark.parametrize("name", DEMOS)
def test_a_checkpoint_is_loaded_by_the_model_of_its_architecture(name: str) -> None:
    card = embedded_card(name)
    row = ARCHITECTURES[json.loads((EMBEDDED / name / "config.json").read_text())["architectures"][0]]
    model, _ = CheckpointLoader(Settings(device="cpu"), Telemetry(QUIET)).find(ModelSettings(id=card.id), card).load()
    assert f"{type(model).__module__}:{type(model).__name__}" == row.model
    assert model.tasks == set(row.tasks)
