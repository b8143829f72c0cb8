"""Finding a checkpoint by hub id: the hub's real client, each in its process, against a hub on loopback."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, RepoFile, constants

from blip_serve.errors import CheckpointError
from blip_serve.models.blobs import Blobs, Listed, list_files
from blip_serve.models.digests import file_digests
from blip_serve.models.pulled import find_pulled, pulled_of
from tests.support.hub import COMMIT, NO_WEIGHTS, REPOSITORY, running_hub

SMALL = {"config.json": b"{}", "vocab.txt": b"a\n", "README.md": b"#"}
SAFE, PICKLED = {"model.safetensors": NO_WEIGHTS}, {"pytorch_model.bin": b"p" * 99}
FIND = (
    "import os; from pathlib import Path; from blip_serve.models.hub import find_folder;"
    "folder = find_folder({0!r}, None, Path(os.environ['DATA']), print);"
    "print(sorted(file.name for file in folder.iterdir()))"
)
SHARDS = {
    "model.safetensors.index.json": b'{"weight_map": {"a": "model-1.safetensors", "b": "part[2].safetensors"}}',
    "model-1.safetensors": NO_WEIGHTS,
    "part[2].safetensors": NO_WEIGHTS + b" ",
}
"""Named as no pattern would find them."""
ONLY_PICKLED = "import huggingface_hub as h; h.snapshot_download({0!r}, ignore_patterns=['*.safetensors'])"
IS_CACHED = "from blip_serve.models.hub import cached_folder; print(cached_folder({0!r}, None) is not None)"


def run(code: str, home: Path, endpoint: str, *, offline: bool = False) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_HOME": str(home), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    environment["DATA"] = str(home / "data")
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


def test_what_was_checked_is_recorded_and_not_read_again(tmp_path: Path) -> None:
    with running_hub(SMALL | SAFE) as hub:
        assert run(FIND, tmp_path, hub.url).returncode == 0
        recorded = find_pulled(tmp_path / "data", REPOSITORY, COMMIT)
        assert recorded is not None
        [snapshot] = tmp_path.rglob("snapshots/*")
        assert recorded.files == file_digests(snapshot)
        (snapshot / "model.safetensors").resolve().write_bytes(b"?")  # as nobody does
        asked = len(hub.log)
        assert run(FIND, tmp_path, hub.url).returncode == 0
        assert len(hub.log) == asked


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_wrong_digest_is_refused_and_nothing_of_the_file_is_kept(tmp_path: Path, name: str) -> None:
    with running_hub() as hub:
        hub.add(REPOSITORY, SMALL | SAFE).wrong.add(name)
        refused = run(FIND, tmp_path, hub.url)
        assert refused.returncode == 1
        assert f"{name} is not what the hub lists" in refused.stderr
        assert hub.repositories[REPOSITORY]["main"].etag(name) in refused.stderr
        assert not [*tmp_path.rglob(f"snapshots/*/{name}"), *tmp_path.rglob("*.incomplete"), *tmp_path.rglob("data/*")]
        hub.repositories[REPOSITORY]["main"].wrong.clear()
        assert run(FIND, tmp_path, hub.url).returncode == 0


def test_no_more_bytes_are_taken_than_the_hub_lists(tmp_path: Path) -> None:
    with running_hub() as hub:
        hub.add(REPOSITORY, SMALL | SAFE).long.add("model.safetensors")
        refused = run(FIND, tmp_path, hub.url)
    assert "the download failed: the hub sends more than the size that it lists" in refused.stderr
    assert sum(file.stat().st_size for file in tmp_path.rglob("*.incomplete")) <= len(NO_WEIGHTS)
    assert not [*tmp_path.rglob("snapshots/*/model.safetensors"), *tmp_path.rglob("data/*")]


def test_a_hub_that_lists_without_end_is_left_and_names_that_no_terminal_should_see_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def listed(*names: str) -> Callable[..., Iterator[RepoFile]]:
        kind: Any = RepoFile
        return lambda *_, **__: (kind(path=name, size=0, oid="0" * 40) for name in names)

    monkeypatch.setattr(HfApi, "list_repo_tree", lambda *_, **__: repeat("a folder"))
    with pytest.raises(CheckpointError, match="the hub lists more than 10000 files"):
        list_files(REPOSITORY, COMMIT)
    monkeypatch.setattr(HfApi, "list_repo_tree", listed("a.json", "\x1b[2J.json", "b/c.json"))
    assert list(list_files(REPOSITORY, COMMIT)) == ["a.json"]


def test_a_file_elsewhere_that_the_cache_links_to_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    own = tmp_path / "own.safetensors"
    own.write_bytes(b"mine")
    link = tmp_path / "hub" / "models--owner--model" / "snapshots" / COMMIT / "model.safetensors"
    link.parent.mkdir(parents=True)
    link.symlink_to(own)
    blobs = Blobs(REPOSITORY, COMMIT, {link.name: Listed(link.name, 4, "0" * 64, large=True)})
    with pytest.raises(CheckpointError, match="is not what the hub lists"):
        blobs.bring([link.name])
    assert own.read_bytes() == b"mine"
    assert not link.is_symlink()


def test_a_file_that_was_damaged_in_the_cache_is_removed_and_brought_again(tmp_path: Path) -> None:
    with running_hub(SMALL | SAFE) as hub:
        assert run(FIND, tmp_path, hub.url).returncode == 0
        shutil.rmtree(tmp_path / "data")  # as where the cache was filled by `hf download`
        [weights] = tmp_path.rglob("snapshots/*/model.safetensors")
        weights.resolve().write_bytes(NO_WEIGHTS + b"?")
        refused = run(FIND, tmp_path, hub.url)
        assert "model.safetensors is not what the hub lists" in refused.stderr
        assert not weights.is_symlink()
        assert run(FIND, tmp_path, hub.url).returncode == 0
    assert weights.read_bytes() == NO_WEIGHTS


def test_where_nothing_can_be_recorded_it_is_told_and_the_checkpoint_is_found(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"")  # no folder can be made of it, by root neither
    with running_hub(SMALL | SAFE) as hub:
        told = run(FIND, tmp_path, hub.url)
    assert told.returncode == 0
    assert told.stdout.splitlines()[0].startswith(f"{REPOSITORY}: checked, but that cannot be recorded in {tmp_path}")


@pytest.mark.full
def test_a_cache_that_cannot_be_written_serves_what_it_holds(tmp_path: Path) -> None:
    with running_hub(SMALL | SAFE) as hub:
        assert run(FIND, tmp_path, hub.url).returncode == 0
        shutil.rmtree(tmp_path / "data")
        shutil.rmtree(tmp_path / "hub" / ".locks")
        (tmp_path / "hub" / ".locks").write_bytes(b"")  # no lock can be made
        assert run(FIND, tmp_path, hub.url).returncode == 0


@pytest.mark.full
def test_revisions_are_kept_apart(tmp_path: Path) -> None:
    with running_hub(SMALL | SAFE) as hub:
        hub.add(REPOSITORY, SMALL | {"model.safetensors": NO_WEIGHTS + b" "}, commit="f" * 40, revision="old")
        assert run(FIND, tmp_path, hub.url).returncode == 0
        assert run(FIND.replace("None", "'old'"), tmp_path, hub.url).returncode == 0
    commits = {pulled.commit: pulled.revision for pulled in pulled_of(tmp_path / "data", REPOSITORY)}
    assert commits == {COMMIT: None, "f" * 40: "old"}


def test_no_room_is_told_before_anything_is_asked_for(tmp_path: Path) -> None:
    blobs = Blobs(REPOSITORY, COMMIT, {"model.safetensors": Listed("model.safetensors", 10**18, "0" * 64, large=True)})
    with pytest.raises(CheckpointError, match=r"1\.0 EB are needed on its disk, .+B are free"):
        blobs.bring(["model.safetensors"])
