"""`blip-serve pull`, as a process, against a hub on loopback."""

import json
from pathlib import Path

from tests.support.command import blip_serve
from tests.support.hub import COMMIT, REPOSITORY, running_hub

FILES = {"config.json": b"{}", "vocab.txt": b"a\n", "pytorch_model.bin": b"p" * 99}
EMBEDDED = {"id": "blip-serve/demo-retrieval"}
OTHER = {"id": "test/mine", "source": REPOSITORY}


def test_pulled_models_are_found_offline(tmp_path: Path) -> None:
    environment = {"HF_HOME": str(tmp_path), "BLIP_SERVE_MODELS": json.dumps([EMBEDDED, OTHER])}
    with running_hub(FILES) as hub:
        done = blip_serve("pull", HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="0", **environment)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("blip-serve/demo-retrieval: ")
    assert second.startswith(f"test/mine: {tmp_path}")
    assert second.endswith(COMMIT)
    assert blip_serve("pull", HF_HUB_OFFLINE="1", **environment).stdout == done.stdout


def test_a_model_that_cannot_be_had_is_told_and_the_others_are_pulled(tmp_path: Path) -> None:
    models = json.dumps([OTHER, EMBEDDED])
    done = blip_serve("pull", HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1", BLIP_SERVE_MODELS=models)
    assert done.returncode == 1
    assert done.stdout.startswith("blip-serve/demo-retrieval: ")
    assert done.stderr.startswith(f"blip-serve: test/mine: {REPOSITORY}: not in the hub's cache")
