"""`blip-serve keys`: makes, lists and revokes API keys. A running service reads the changed file by itself."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Column, Table

from blip_serve.cli.options import Config
from blip_serve.domain import EVERY_TASK
from blip_serve.errors import ConfigurationError
from blip_serve.keys import change_keys, digest, new_key, read_keys
from blip_serve.settings import KeySettings, Settings, explain

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")

File = Annotated[Path | None, typer.Option("--file", "-f", help="File of keys; else the settings' auth.keys_file.")]
Name = Annotated[str, typer.Argument(help="Whose key it is, as the log and the metrics name it.")]


@app.command()
def create(
    name: Name,
    model: Annotated[
        list[str] | None, typer.Option(help="A model it may use, or a pattern; repeatable. All by default.")
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(help=f"What it may ask of them: {', '.join(EVERY_TASK)}; repeatable. Everything by default."),
    ] = None,
    rate: Annotated[str | None, typer.Option(help="Requests a span of time, such as 100/minute.")] = None,
    concurrency: Annotated[int | None, typer.Option(help="Requests at once.")] = None,
    flex_only: Annotated[
        bool, typer.Option("--flex-only", help="All its requests are background work: service tier flex.")
    ] = False,
    manage_models: Annotated[bool, typer.Option("--manage-models", help="It may load and unload models.")] = False,
    file: File = None,
    config: Config = None,
) -> None:
    """Make a key and print it. It is never shown again: the file holds its SHA-256 only."""
    keys_file, key = _file(file, config), new_key()
    made = _entry(
        {
            "name": name,
            "sha256": digest(key),
            "models": tuple(model or ("*",)),
            "tasks": tuple(task or EVERY_TASK),
            "rate": rate,
            "concurrency": concurrency,
            "flex_only": flex_only,
            "manage_models": manage_models,
            "created": datetime.now(UTC).date(),
        }
    )

    def add(keys: tuple[KeySettings, ...]) -> Sequence[KeySettings]:
        if any(known.name == name for known in keys):
            raise ConfigurationError(f"{keys_file}: there is a key named {name}; revoke it first")
        return [*keys, made]

    change_keys(keys_file, add)
    print(key)
    print(f"{name} is in {keys_file}; the key itself is stored nowhere.", file=sys.stderr)


@app.command("list")
def list_(file: File = None, config: Config = None) -> None:
    """List what the file says of the keys."""
    models, tasks = Column("models", overflow="fold"), Column("tasks", overflow="fold")  # a narrow table hides nothing
    table = Table("name", models, tasks, "rate", "at once", "tier", "manages", "created", "sha256", box=None)
    for key in read_keys(_file(file, config)):
        tier, manages = "flex" if key.flex_only else None, "models" if key.manage_models else None
        shown = (key.rate, key.concurrency, tier, manages, key.created)
        may = ("*",) if {*key.tasks} == {*EVERY_TASK} else key.tasks
        values = (str(value or "-") for value in shown)
        table.add_row(key.name, ", ".join(key.models), ", ".join(may), *values, key.sha256[:8])
    Console().print(table)


@app.command()
def revoke(name: Name, file: File = None, config: Config = None) -> None:
    """Take a key out of the file. A running service refuses it within two seconds."""
    keys_file = _file(file, config)
    read_keys(keys_file)  # fails if there is no file

    def remove(keys: tuple[KeySettings, ...]) -> Sequence[KeySettings]:
        if all(known.name != name for known in keys):
            raise ConfigurationError(f"{keys_file}: no key is named {name}")
        return [known for known in keys if known.name != name]

    change_keys(keys_file, remove)
    print(f"{name} is revoked.", file=sys.stderr)


def _file(file: Path | None, config: Path | None) -> Path:
    chosen = file or Settings.load(config).auth.keys_file
    if chosen is None:
        raise ConfigurationError("auth.keys_file: not set; name the file with --file")
    return chosen


def _entry(given: dict[str, object]) -> KeySettings:
    try:
        return KeySettings.model_validate(given)
    except ValidationError as error:
        raise ConfigurationError(explain(error, None)) from None
