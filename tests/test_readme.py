"""The README says what the code does: its tables are made of the code, its examples run as they stand."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from blip_serve.api import embed
from blip_serve.api.app import ENDPOINTS
from blip_serve.api.body import Others, anything
from blip_serve.settings import NESTED, PREFIX, Settings
from tests.support.server import QUIET, serving
from tests.support.waiting import STARTED_S, WAIT_S
from tests.test_imports import LAYERS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PACKAGE = ROOT / "src" / "blip_serve"
PARAMETERS: list[tuple[str, type[BaseModel], Others]] = [
    (next(iter(endpoint.paths)), endpoint.body, endpoint.others)
    for endpoints in ENDPOINTS.values()
    for endpoint in endpoints
    if endpoint is not embed.OLDER  # reads what the newer one reads
]
"""Each endpoint's main path, with the parameters that it reads, and those that it accepts and does not read."""
UPDATE = bool(os.environ.get("UPDATE_SNAPSHOTS"))


def check_table(name: str, lines: list[str]) -> None:
    """The README's table between the marks of that name; rewritten by `UPDATE_SNAPSHOTS=1 make test`."""
    between = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)
    table = "".join(f"{line}\n" for line in lines)
    text = README.read_text(encoding="utf-8")
    if UPDATE:
        text = between.sub(lambda _: table, text)
        README.write_text(text, encoding="utf-8")
    found = between.search(text)
    assert found is not None
    assert found.group() == table


EXAMPLES = README.read_text(encoding="utf-8").partition("## Try it")[2].partition("## What the scores mean")[0]
SHOWN = re.compile(r"^ *print\(.*\)  # (.+)$", re.MULTILINE)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", EXAMPLES, re.DOTALL)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where the service runs as it does with nothing configured, but for its log and number type."""
    with serving(Settings(log=QUIET, dtype="float32")) as service:
        yield service.url.removeprefix("http://")


def test_the_python_examples_print_what_they_say(address: str) -> None:
    code = "".join(blocks("python"))
    done = subprocess.run(
        [sys.executable, "-c", code.replace("localhost:8000", address)],
        check=False, capture_output=True, text=True, timeout=WAIT_S * 3, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [line for shown in SHOWN.findall(code) for line in shown.split(" / ")]
    assert code.count("print(") == len(SHOWN.findall(code))


@pytest.mark.timeout(300)  # a block has four commands that load models
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("block", blocks("bash"))
def test_the_shell_examples_run(address: str, block: str) -> None:
    script = block.replace("localhost:8000", address).replace("curl ", "curl --silent --show-error --fail ")
    script = script.replace(".venv/bin/blip-serve", f"{sys.executable} -m blip_serve")
    bound = STARTED_S * max(1, script.count("-m blip_serve"))
    done = subprocess.run(
        ["bash", "-e", "-c", script], check=False, capture_output=True, text=True, timeout=bound, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def rows(section: type[BaseModel], path: tuple[str, ...] = ()) -> list[str]:
    """A line of the table for each setting below `section`."""
    lines = []
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            lines += rows(inner, (*path, name))
        else:
            variable = PREFIX + NESTED.join((*path, name)).upper()
            default = "the demo" if name == "models" else field.default
            lines.append(f"| `{'.'.join((*path, name))}` | `{variable}` | {default} | {field.description} |")
    return lines


def first_sentence(file: Path) -> str:
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    assert docstring, file
    return re.split(r"\.(?=\s|$)", " ".join(docstring.split("\n\n")[0].split()))[0]


def test_the_configuration_table_is_that_of_the_settings() -> None:
    check_table("settings", ["| key | environment | default | meaning |", "|---|---|---|---|", *rows(Settings)])


def test_the_parameters_are_those_of_the_endpoints() -> None:
    def named(names: Iterable[str]) -> str:
        return ", ".join(f"`{name}`" for name in names) or "-"

    lines = []
    for path, body, others in PARAMETERS:
        ignored = [name for name, harmless in others.items() if harmless is anything]
        refused = [name for name in others if name not in ignored]
        lines.append(f"| `{path}` | {named(body.model_fields)} | {named(sorted(ignored))} | {named(sorted(refused))} |")
    header = "| endpoint | read | ignored | refused unless it changes nothing |"
    check_table("parameters", [header, "|---|---|---|---|", *lines])


def test_every_module_is_listed_by_layer_with_its_one_job() -> None:
    files = [file for file in sorted(PACKAGE.rglob("*.py")) if file.name not in ("__init__.py", "__main__.py")]
    files.sort(key=lambda file: -LAYERS.index(file.relative_to(PACKAGE).parts[0].removesuffix(".py")))
    lines = [f"| `{file.relative_to(PACKAGE)}` | {first_sentence(file)} |" for file in files]
    check_table("modules", ["| module | its one job |", "|---|---|", *lines])
