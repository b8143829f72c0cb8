"""What the commands import: nothing that they do without. Each is a process."""

import subprocess
import sys

import pytest

from blip_serve.catalogue import EMBEDDED
from blip_serve.cli import COMMANDS, imported

RED = str(EMBEDDED / "pictures" / "red-circle.png")
RUN = """
import sys
from blip_serve.cli import main

sys.argv = ["blip-serve", *sys.argv[1:]]
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
print("imported", *{name.partition(".")[0] for name in sys.modules})
"""
WEB = {"fastapi", "starlette", "uvicorn"}
MODELS = {"torch", "transformers", "tokenizers", "safetensors", "numpy"}
SERVICE = {"PIL", "httpx", "huggingface_hub", "limits", "pydantic_settings", "prometheus_client", "yaml"}


def modules_of(*arguments: str) -> set[str]:
    """The packages that a command had imported by its end."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments], check=False, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_version_and_help_import_nothing_of_the_service(option: str) -> None:
    assert not modules_of(option) & (WEB | MODELS | SERVICE)


def test_keys_and_models_import_no_web_framework_and_nothing_that_computes() -> None:
    assert not modules_of("models") & (WEB | MODELS | {"PIL"})
    assert not modules_of("keys", "create", "--help") & (WEB | MODELS | {"PIL"})


def test_what_runs_a_model_here_imports_no_web_framework() -> None:
    found = modules_of("match", RED, "--caption", "a")
    assert "torch" in found
    assert not found & (WEB | {"transformers"})


@pytest.mark.parametrize("command", ["match", "caption", "embed", "rerank", "explain"])
def test_the_commands_that_run_models_import_what_computes_with_the_model_only(command: str) -> None:
    assert not modules_of(command, "--help") & (WEB | MODELS)


@pytest.mark.parametrize("command", ["bulk", "calibrate", "doctor", "eval", "pull", "serve"])
def test_the_other_commands_start(command: str) -> None:
    assert "blip_serve" in modules_of(command, "--help")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_listed_with_the_first_line_of_its_own_help(name: str) -> None:
    assert COMMANDS[name].summary == imported(name).help.partition("\n")[0]
