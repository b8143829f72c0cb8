"""A checkpoint's configuration is the one that transformers reads."""

import json
from pathlib import Path

import pytest

from blip_serve.catalogue import EMBEDDED
from blip_serve.models import config
from blip_serve.models.config import read_config

FOLDERS = ("demo-retrieval", "demo-captioning", "demo-vqa")


@pytest.mark.parametrize("name", FOLDERS)
def test_a_whole_configuration_is_read_as_transformers_reads_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as without:
        without.delattr(config, "imported")
        found = read_config(EMBEDDED / name)
    monkeypatch.setattr(config, "_is_complete", lambda content: False)
    assert read_config(EMBEDDED / name) == found


def test_what_a_configuration_leaves_out_is_completed(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "blip", "vision_config": {"hidden_size": 960}}))
    found = read_config(tmp_path)
    assert (found.vision.hidden_size, found.vision.num_hidden_layers, found.joint_width) == (960, 12, 256)
    assert found.text.encoder_hidden_size == 960
