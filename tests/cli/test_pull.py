"""`blip-serve pull`, as a process, against a hub on loopback."""

import json
from pathlib import Path

import pytest

from tests.support.command import blip_serve
from tests.support.hub import COMMIT, REPOSITORY, running_hub

FILES = {"config.json": b"{}", "vocab.txt": b"a\n", "pytorch_model.bin": b"p" * 99}
EMBEDDED = {"id": "blip-serve/demo-retrieval"}
OTHER = {"id": "test/mine", "source": REPOSITORY}


def test_pulled_models_are_found_offline(tmp_path: Path) -> None:
    models = [EMBEDDED, {"id": "blip-serve/demo-captioning"}, OTHER]
    environment = {"HF_HOME": str(tmp_path), "BLIP_SERVE_MODELS": json.dumps(models)}
    with running_hub(FILES) as hub:
        done = blip_serve("pull", HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="0", **environment)
    assert done.returncode == 0, done.stderr
    first, captions, second = done.stdout.splitlines()
    assert first.startswith("blip-serve/demo-retrieval: ")
    assert captions.startswith("blip-serve/demo-captioning: ")
    assert second.startswith(f"test/mine: {tmp_path}")
    assert second.endswith(COMMIT)
    assert blip_serve("pull", HF_HUB_OFFLINE="1", **environment).stdout == done.stdout


def test_a_model_that_cannot_be_had_is_told_and_the_others_are_pulled(tmp_path: Path) -> None:
    models = json.dumps([OTHER, EMBEDDED])
    done = blip_serve("pull", HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1", BLIP_SERVE_MODELS=models)
    assert done.returncode == 1
    assert done.stdout.startswith("blip-serve/demo-retrieval: ")
    assert done.stderr.startswith(f"blip-serve: test/mine: {REPOSITORY}: not in the hub's cache")


@pytest.mark.parametrize("files", [{}, {"model-00001-of-00001.safetensors": b"s" * 99}], ids=["none", "in pieces"])
def test_a_model_without_weights_that_can_be_read_is_told_with_the_hub_and_without(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    environment = {"HF_HOME": str(tmp_path), "BLIP_SERVE_MODELS": json.dumps([OTHER]), "HF_HUB_OFFLINE": "0"}
    with running_hub({"config.json": b"{}", "vocab.txt": b"a\n"} | files) as hub:
        asked = blip_serve("pull", HF_ENDPOINT=hub.url, **environment)
    for done in (asked, blip_serve("pull", HF_ENDPOINT=hub.url, **environment)):
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.endswith(f"test/mine: {REPOSITORY}: holds neither model.safetensors nor pytorch_model.bin\n")


def test_shards_that_the_hub_lacks_or_that_lead_elsewhere_are_told(tmp_path: Path) -> None:
    environment = {"HF_HOME": str(tmp_path), "BLIP_SERVE_MODELS": json.dumps([OTHER]), "HF_HUB_OFFLINE": "0"}
    for shard, words in (("gone.bin", "holds no gone.bin"), ("../gone.bin", "is not the name of a file beside it")):
        index = json.dumps({"weight_map": {"a": shard}}).encode()
        with running_hub({"config.json": b"{}", "pytorch_model.bin.index.json": index}) as hub:
            done = blip_serve("pull", HF_ENDPOINT=hub.url, **environment | {"HF_HOME": str(tmp_path / shard[:2])})
        assert (done.returncode, done.stdout) == (1, "")
        assert words in done.stderr
        assert "pytorch_model.bin.index.json" in done.stderr


def test_weights_gone_from_the_cache_are_told_where_the_hub_is_gone_too(tmp_path: Path) -> None:
    environment = {"HF_HOME": str(tmp_path), "BLIP_SERVE_MODELS": json.dumps([OTHER]), "HF_HUB_OFFLINE": "0"}
    with running_hub(FILES) as hub:
        assert blip_serve("pull", HF_ENDPOINT=hub.url, **environment).returncode == 0
    [weights] = tmp_path.rglob("snapshots/*/pytorch_model.bin")
    weights.unlink()
    done = blip_serve("pull", HF_ENDPOINT=hub.url, **environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"test/mine: {REPOSITORY}: not in the hub's cache, and the hub cannot be reached" in done.stderr
