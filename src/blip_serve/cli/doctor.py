"""`blip-serve doctor`: draws what the doctor found."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from blip_serve.cli.options import AsJson, Config, Model
from blip_serve.cli.tables import Name, table_of, words
from blip_serve.doctor.check import Check, Report, Status
from blip_serve.doctor.examination import examine, machine_report
from blip_serve.errors import ConfigurationError
from blip_serve.settings import Settings

MARKS: dict[Status, tuple[str, str]] = {
    "passed": ("ok", "green"),
    "failed": ("FAIL", "bold red"),
    "not checked": ("?", "yellow"),
    "measured": ("", ""),
}
"""What stands before a row, and its style."""


def doctor(
    model: Model = None,
    golden: Annotated[
        Path | None, typer.Option(help="BLIP's demo.jpg, of which some checkpoints' values are published.")
    ] = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Check machine, configuration and a model's files, weights and answers; say what to do.

    The exit code is 0 if all checks passed, 1 if one failed, and 3 if none failed and one could not be made.
    """
    settings = Settings.load(config)
    if golden is not None and model is None:
        raise ConfigurationError("--golden: name the checkpoint with --model")
    if golden is not None and not golden.is_file():
        raise ConfigurationError(f"--golden: {golden}: no such file")
    report = machine_report(settings) if model is None else examine(settings, model, golden)
    if as_json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        _draw(report, model)
    sys.exit(report.exit_code)


def _draw(report: Report, model: str | None) -> None:
    console = Console()
    console.print(_table(report, model))
    if advised := [row for row in report.checks if row.advice]:
        console.print(Text("What to do", style="bold"), *map(_advice, advised), sep="\n", end="\n\n")
    counts = ", ".join(f"{count} {status}" for status, count in report.counts.items())
    console.print(Text(f"{counts}.", style="bold"), *[words(f"Also: {more}.") for more in report.further], sep="\n")


def _table(report: Report, model: str | None) -> Table:
    table = table_of(f"blip-serve doctor{f' --model {model}' if model else ''}")
    table.add_column("", no_wrap=True)
    table.add_column("checked", overflow="fold", ratio=3)
    table.add_column("seen", overflow="fold", ratio=4)
    table.add_column("expected", overflow="fold", ratio=3)
    part = ""
    for row in report.checks:
        if row.part != part:
            table.add_section()
            table.add_row("", Text(row.part, style="bold"), "", "")
            part = row.part
        mark, style = MARKS[row.status]
        table.add_row(Text(mark, style=style), Name(row.name), words(row.seen), words(row.expected))
    return table


def _advice(row: Check) -> Text:
    """What to do about a row."""
    return Text.assemble((f"- {row.name}: ", MARKS[row.status][1]), words(row.advice))
