"""The README says what the code does: its configuration table, its list of modules, its Python example."""

import os
import re
from pathlib import Path

from pydantic import BaseModel

from blip_serve.settings import NESTED, PREFIX, Settings

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
TABLE = re.compile(r"(?<=<!-- settings -->\n).*(?=<!-- /settings -->)", re.DOTALL)


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


def test_the_configuration_table_is_that_of_the_settings() -> None:
    """Rewrite it with `UPDATE_SNAPSHOTS=1 make test` after a change that is meant."""
    header = ["| key | environment | default | meaning |", "|---|---|---|---|"]
    table = "\n".join([*header, *rows(Settings)]) + "\n"
    text = README.read_text(encoding="utf-8")
    if os.environ.get("UPDATE_SNAPSHOTS"):
        README.write_text(TABLE.sub(lambda _: table, text), encoding="utf-8")
        text = README.read_text(encoding="utf-8")
    found = TABLE.search(text)
    assert found is not None
    assert found.group() == table


def test_every_module_has_its_line() -> None:
    text = README.read_text(encoding="utf-8")
    package = ROOT / "src" / "blip_serve"
    for file in package.rglob("*.py"):
        if file.name not in ("__init__.py", "__main__.py"):
            assert f"`{file.relative_to(package)}`" in text, file
