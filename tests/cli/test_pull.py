"""`blip-serve pull`, as a process, against a hub on loopback."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from blip_serve.catalogue import embedded_card
from blip_serve.cli import app
from blip_serve.errors import ConfigurationError
from tests.support.command import blip_serve
from tests.support.hub import COMMIT, REPOSITORY, Files, running_hub
from tests.support.original import write_original

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
def test_a_model_without_weights_that_can_be_read_is_told(tmp_path: Path, files: dict[str, bytes]) -> None:
    environment = {"HF_HOME": str(tmp_path), "BLIP_SERVE_MODELS": json.dumps([OTHER]), "HF_HUB_OFFLINE": "0"}
    with running_hub({"config.json": b"{}", "vocab.txt": b"a\n"} | files) as hub:
        done = blip_serve("pull", HF_ENDPOINT=hub.url, **environment)
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


@pytest.mark.full
def test_a_source_is_a_hub_id_with_a_revision_and_is_written_as_a_folder(tmp_path: Path) -> None:
    to, demo = tmp_path / "to", embedded_card("demo-retrieval").folder
    assert demo is not None
    files: Files = {name: demo / name for name in ("config.json", "vocab.txt", "model.safetensors")}
    with running_hub() as hub:
        hub.add(REPOSITORY, files, revision="v1")
        environment = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"}
        done = blip_serve("pull", f"{REPOSITORY}@v1", "--to", str(to), **environment)
    assert (done.returncode, done.stdout) == (0, f"{REPOSITORY}@v1: {to}\n"), done.stderr
    assert {file.name: file.read_bytes() for file in to.iterdir()} == {n: (demo / n).read_bytes() for n in files}
    again = CliRunner().invoke(app, ["pull", str(demo), "--to", str(to)])
    assert isinstance(again.exception, ConfigurationError)
    assert "is there already" in str(again.exception)


WRONG = {
    "no such file": (["no.pth"], "no.pth: no such file"),
    "a .pth without --like": (["a.pth", "--to", "to"], "a.pth: holds weights alone; --like names"),
    "a .pth without --to": (["a.pth", "--like", "blip-serve/demo-retrieval"], "a.pth: --to must name"),
    "--like without a .pth": (["a/b", "--like", "a/c"], "--like: is for a .pth"),
    "--to without a source": (["--to", "to"], "--to: takes one SOURCE, not none"),
    "--to with two": (["a/b", "a/c", "--to", "to"], "--to: takes one SOURCE, not 2"),
    "--to a file": (["a/b", "--to", "a.pth"], "--to: a.pth is there already"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG)
def test_options_that_do_not_go_together_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pth").write_bytes(b"")
    done = CliRunner().invoke(app, ["pull", *arguments])
    assert isinstance(done.exception, ConfigurationError)  # `main` ends with exit code 2
    assert str(done.exception).startswith(message)


def test_salesforces_file_is_written_like_a_model_of_the_settings(tmp_path: Path) -> None:
    demo = embedded_card("demo-retrieval").folder
    assert demo is not None
    original = str(write_original(demo, tmp_path / "model.pth"))
    done = CliRunner().invoke(app, ["pull", original, "--like", "demo-retrieval", "--to", str(tmp_path / "to")])
    assert (done.exit_code, done.stdout) == (0, f"{original}: {tmp_path / 'to'}\n")
    told = CliRunner().invoke(app, ["pull", original, "--like", "demo-captioning", "--to", str(tmp_path / "other")])
    assert told.exit_code == 1
    assert "is missing" in told.stderr
