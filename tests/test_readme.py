"""The README says what the code does: its configuration table, its list of modules, its Python example."""

import ast
import os
import re
from pathlib import Path

from pydantic import BaseModel

from blip_serve.settings import NESTED, PREFIX, Settings
from tests.test_imports import LAYERS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PACKAGE = ROOT / "src" / "blip_serve"
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


def test_every_module_is_listed_by_layer_with_its_one_job() -> None:
    files = [file for file in sorted(PACKAGE.rglob("*.py")) if file.name not in ("__init__.py", "__main__.py")]
    files.sort(key=lambda file: -LAYERS.index(file.relative_to(PACKAGE).parts[0].removesuffix(".py")))
    lines = [f"| `{file.relative_to(PACKAGE)}` | {first_sentence(file)} |" for file in files]
    check_table("modules", ["| module | its one job |", "|---|---|", *lines])
