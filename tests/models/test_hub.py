"""Finding a checkpoint by hub id: the hub's real client, each in its process, against a hub on loopback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.hub import REPOSITORY, running_hub

SMALL = {"config.json": b"{}", "vocab.txt": b"a\n", "README.md": b"#"}
SAFE, PICKLED = {"model.safetensors": b"s" * 99}, {"pytorch_model.bin": b"p" * 99}
FIND = (
    "from blip_serve.models.files import find_folder; print(sorted(p.name for p in find_folder({0!r}, None).iterdir()))"
)
SHARDS = {
    "model.safetensors.index.json": b'{"weight_map": {"a": "model-1.safetensors", "b": "part[2].safetensors"}}',
    "model-1.safetensors": b"s" * 9,
    "part[2].safetensors": b"t" * 9,
}
"""Named as no pattern would find them."""
ONLY_PICKLED = "import huggingface_hub as h; h.snapshot_download({0!r}, ignore_patterns=['*.safetensors'])"
IS_CACHED = "from blip_serve.models.files import is_cached; print(is_cached({0!r}, None))"


def run(code: str, home: Path, endpoint: str, *, offline: bool = False) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_HOME": str(home), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    environment |= {"HF_HUB_OFFLINE": "1"} if offline else {}
    return subprocess.run(
        [sys.executable, "-c", code.format(REPOSITORY)],
        check=False, capture_output=True, text=True, timeout=60, env=environment,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (SMALL | SAFE | PICKLED, "['config.json', 'model.safetensors', 'vocab.txt']"),
        (SMALL | PICKLED, "['config.json', 'pytorch_model.bin', 'vocab.txt']"),
        (SMALL | SHARDS | PICKLED, str(sorted({"config.json", "vocab.txt", *SHARDS}))),
    ],
    ids=["safetensors preferred", "pickled alone", "shards"],
)
def test_a_hub_id_is_downloaded_once_and_found_offline(tmp_path: Path, files: dict[str, bytes], found: str) -> None:
    with running_hub(files) as hub:
        assert run(FIND, tmp_path, hub.url).stdout.strip() == found
        url = hub.url
    assert run(FIND, tmp_path, url, offline=True).stdout.strip() == found
    assert run(IS_CACHED, tmp_path, url, offline=True).stdout.strip() == "True"


def test_a_cache_that_holds_the_pickled_weights_alone_serves_offline(tmp_path: Path) -> None:
    with running_hub(SMALL | SAFE | PICKLED) as hub:
        assert run(ONLY_PICKLED, tmp_path, hub.url).returncode == 0
    done = run(FIND, tmp_path, hub.url, offline=True)
    assert "pytorch_model.bin" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        ((404, "RepoNotFound"), "not found on the hub"),
        ((403, "GatedRepo"), "accept its terms"),
        ((404, "RevisionNotFound"), "not found on the hub"),
    ],
)
def test_a_refusal_of_the_hub_says_what_to_do(tmp_path: Path, refusal: tuple[int, str], reason: str) -> None:
    with running_hub({}, refusal) as hub:
        done = run(FIND, tmp_path, hub.url)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("blip_serve.errors.CheckpointError: owner/model")
    assert reason in last


def test_a_hub_out_of_reach_says_what_to_do(tmp_path: Path) -> None:
    last = run(FIND, tmp_path, "http://127.0.0.1:1").stderr.strip().splitlines()[-1]
    assert "the hub cannot be reached" in last
    assert "HF_HOME" in last
