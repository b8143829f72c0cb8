"""`blip-serve doctor` and `serve --check`, as processes."""

import json
import shutil
from pathlib import Path

import pytest

from blip_serve.catalogue import EMBEDDED
from blip_serve.cli.doctor import doctor
from blip_serve.cli.serve import _exit_if_ill
from blip_serve.errors import ConfigurationError
from blip_serve.settings import Settings
from tests.doctor.faults import config
from tests.support.command import blip_serve


def test_the_table_fits_80_columns_and_says_what_further_could_be_checked(tmp_path: Path) -> None:
    done = blip_serve("doctor", COLUMNS="80", BLIP_SERVE_DATA_DIR=str(tmp_path), BLIP_SERVE_DTYPE="float32")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    [dtype] = [line for line in lines if line.startswith("│    │ dtype")]
    assert dtype.split("│")[3].strip() == "float32"
    assert " 0 failed, 0 not checked." in done.stdout
    assert "Also: `--model ID`: a checkpoint's files" in done.stdout
    assert done.stderr == ""


@pytest.fixture
def eight_heads(tmp_path: Path) -> str:
    """The settings of a model whose configuration is wrong."""
    folder = Path(shutil.copytree(EMBEDDED / "demo-retrieval", tmp_path / "copy"))
    config("text_config", num_attention_heads=8)(folder)
    (folder / "model.safetensors").unlink()
    return json.dumps([{"id": "blip-serve/demo-retrieval", "source": str(folder)}])


def test_json_and_the_exit_code_tell_of_a_failed_check(eight_heads: str, tmp_path: Path) -> None:
    environment = {"BLIP_SERVE_MODELS": eight_heads, "BLIP_SERVE_DATA_DIR": str(tmp_path)}
    done = blip_serve("doctor", "--json", "--model", "demo-retrieval", **environment)
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert report["exit_code"] == 1
    [heads] = [check for check in report["checks"] if check["name"] == "text heads"]
    assert (heads["status"], heads["seen"], heads["expected"]) == ("failed", "8", "4")
    assert "config.json" in heads["advice"]


def test_serve_opens_no_port_if_a_quick_check_fails(eight_heads: str, tmp_path: Path) -> None:
    environment = {"BLIP_SERVE_MODELS": eight_heads, "BLIP_SERVE_DATA_DIR": str(tmp_path)}
    done = blip_serve("serve", "--check", "--port", "0", **environment)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert any(
        line.startswith("blip-serve: card, blip-serve/demo-retrieval: text heads: 8; expected: 4") for line in lines
    )
    assert not [line for line in lines if "loading" in line]


def test_serve_says_what_it_could_not_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shutil.copytree(EMBEDDED / "demo-retrieval", tmp_path / "copy")
    models = [{"id": "mine/own", "source": str(folder)}]
    _exit_if_ill(Settings.of({"device": "cpu", "data_dir": tmp_path, "models": models}))
    assert "blip-serve: card, mine/own: second witness: card: not checked: no card is known" in capsys.readouterr().err


def test_golden_needs_a_model_and_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--golden: name the checkpoint with --model"):
        doctor(golden=tmp_path / "demo.jpg")
    with pytest.raises(ConfigurationError, match=r"--golden: .*demo\.jpg: no such file"):
        doctor(model="demo", golden=tmp_path / "demo.jpg")
