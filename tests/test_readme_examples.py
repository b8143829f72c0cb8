"""The examples of the documents run as they stand, and print what they say.

Blocks marked `bash` and `python` run here, against a service with nothing configured. `yaml` blocks of settings are
read. Blocks marked `sh` need what a test has not (Docker, root, a hub, minutes): their `make` targets and the options
of their commands are looked up.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from blip_serve.cli import COMMANDS, imported
from blip_serve.settings import Settings
from tests.support.documents import DOCUMENTS, ROOT, blocks, name, text_of
from tests.support.forked import shell
from tests.support.server import QUIET, serving
from tests.support.waiting import STARTED_S, WAIT_S

RECIPES = ROOT / "src" / "blip_serve" / "jobs" / "README.md"
"""Its examples are run by tests/jobs/test_recipes.py, which also looks at what they write."""
SHOWN = re.compile(r"^ *print\(.*\)  # (.+)$", re.MULTILINE)
LINKED = ("src", "configs", "scripts", "tests", "pyproject.toml", "README.md")
"""What an example finds where it runs, which is not the repository: it may write files."""
CURL = 'curl() { command curl --silent --show-error --fail "$@"; }\n'


def having(language: str) -> list[Path]:
    return [document for document in DOCUMENTS if blocks(document, language)]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where the service runs as it does with nothing configured, but for its log and number type."""
    with serving(Settings(log=QUIET, dtype="float32")) as service:
        yield service.url.removeprefix("http://")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where an example runs."""
    for linked in LINKED:
        (tmp_path / linked).symlink_to(ROOT / linked)
    return tmp_path


def run(command: list[str], folder: Path, seconds: float) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=seconds, cwd=folder)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.mark.timeout(300)
@pytest.mark.parametrize("document", having("python"), ids=name)
def test_the_python_examples_print_what_they_say(document: Path, address: str, folder: Path) -> None:
    code = "".join(blocks(document, "python"))
    printed = run([sys.executable, "-c", code.replace("localhost:8000", address)], folder, WAIT_S * 3)
    assert printed.splitlines() == [line for shown in SHOWN.findall(code) for line in shown.split(" / ")]
    assert code.count("print(") == len(SHOWN.findall(code))


@pytest.mark.timeout(300)  # a block has four commands that load models
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(
    ("document", "block"),
    [(document, block) for document in having("bash") if document != RECIPES for block in blocks(document, "bash")],
    ids=lambda value: name(value) if isinstance(value, Path) else "",
)
def test_the_shell_examples_run(document: Path, block: str, address: str, folder: Path) -> None:
    script = block.replace("localhost:8000", address).replace(".venv/bin/blip-serve", "blip-serve")
    script = script.replace(".venv/bin/python", sys.executable)
    started = script.count("blip-serve ") + script.count("-m pytest")
    assert run(["bash", "-e", "-c", shell() + CURL + script], folder, STARTED_S * max(1, started))


def test_the_settings_of_the_examples_can_be_used() -> None:
    found = blocks(ROOT / "configs" / "README.md", "yaml")
    assert found
    for block in found:
        Settings(**yaml.safe_load(block))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_make_target_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = re.findall(r"(?:`|^|UPDATE_SNAPSHOTS=1 |STEADY_S=30 )make ([a-z0-9-]+)", text_of(document), re.MULTILINE)
    assert set(named) <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_command_and_option_exists(document: Path) -> None:
    code = "\n".join(blocks(document, "sh") + re.findall(r"`(blip-serve [^`]+)`", text_of(document)))
    for line in code.replace("\\\n", " ").splitlines():
        called = re.search(r"blip-serve (\w+)(?: (\w+))?(.*)", line.partition(" #")[0])
        if called is None or called[1] not in COMMANDS:
            continue
        command = imported(called[1])
        command = command.commands[called[2]] if called[2] in getattr(command, "commands", {}) else command
        known = {"--help"} | {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r" (--[a-z-]+)", called[3])) <= known, line
