"""The documents say what the code does: their tables are made from it. The README is short."""

import ast
import os
import re
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel

from blip_serve.api import embed
from blip_serve.api.app import ENDPOINTS
from blip_serve.api.endpoint import Others, anything
from blip_serve.settings import NESTED, PREFIX, Settings
from tests.support.documents import ROOT, text_of
from tests.test_imports import LAYERS

README_BYTES = 12_000
PACKAGE = ROOT / "src" / "blip_serve"
PARAMETERS: list[tuple[str, type[BaseModel], Others]] = [
    (next(iter(endpoint.paths)), endpoint.body, endpoint.others)
    for endpoints in ENDPOINTS.values()
    for endpoint in endpoints
    if endpoint is not embed.OLDER  # reads what the newer one reads
]
"""Each endpoint's main path, with the parameters that it reads, and those that it accepts and does not read."""
UPDATE = bool(os.environ.get("UPDATE_SNAPSHOTS"))


def check_table(document: Path, name: str, lines: list[str]) -> None:
    """The document's table between the marks of that name; rewritten by `UPDATE_SNAPSHOTS=1 make test`."""
    between = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)
    table = "".join(f"{line}\n" for line in lines)
    text = text_of(document)
    if UPDATE:
        text = between.sub(lambda _: table, text)
        document.write_text(text, encoding="utf-8")
    found = between.search(text)
    assert found is not None
    assert found.group() == table


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


def first_paragraph(file: Path) -> str:
    docstring = ast.get_docstring(ast.parse(text_of(file)))
    assert docstring, file
    return " ".join(docstring.split("\n\n")[0].split())


def test_the_configuration_table_is_that_of_the_settings() -> None:
    header = "| key | environment | default | meaning |"
    check_table(ROOT / "configs" / "README.md", "settings", [header, "|---|---|---|---|", *rows(Settings)])


def test_the_parameters_are_those_of_the_endpoints() -> None:
    def named(names: Iterable[str]) -> str:
        return ", ".join(f"`{name}`" for name in names) or "-"

    lines = []
    for path, body, others in PARAMETERS:
        ignored = [name for name, harmless in others.items() if harmless is anything]
        refused = [name for name in others if name not in ignored]
        lines.append(f"| `{path}` | {named(body.model_fields)} | {named(sorted(ignored))} | {named(sorted(refused))} |")
    header = "| endpoint | read | ignored | refused unless it changes nothing |"
    check_table(PACKAGE / "api" / "README.md", "parameters", [header, "|---|---|---|---|", *lines])


def test_every_layer_is_listed_with_its_one_job() -> None:
    lines = []
    for layer in reversed(LAYERS):
        folder = PACKAGE / layer
        shown, file = (
            (f"{layer}/", folder / "__init__.py") if folder.is_dir() else (f"{layer}.py", PACKAGE / f"{layer}.py")
        )
        lines.append(f"| `{shown}` | {first_paragraph(file)} |")
    check_table(PACKAGE / "README.md", "layers", ["| layer | its one job |", "|---|---|", *lines])


def test_the_readme_is_short() -> None:
    assert (ROOT / "README.md").stat().st_size <= README_BYTES
