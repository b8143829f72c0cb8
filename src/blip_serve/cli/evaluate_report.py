"""What an evaluation shows at its end: a table, a file of JSON, a chart."""

import json
from pathlib import Path

from rich.console import Console
from rich.text import Text

from blip_serve.cli.tables import Name, table_of, words
from blip_serve.durable import write_file
from blip_serve.jobs.evaluation.report import Report
from blip_serve.telemetry import printable


def print_report(report: Report) -> None:
    """A table of the figures on standard output, beside those published; what a reader must know is under it."""
    subject, measured = report.subject, report.measured
    number_type = f", {subject.dtype}" if subject.dtype else ""
    table = table_of(printable(f"{report.name} on {report.data}: protocol {subject.protocol}{number_type}"))
    table.add_column("")
    names = list(measured.figures)
    for name in names:
        table.add_column(words(name), justify="right")
    rows = [(Name(subject.model), measured.figures)]
    rows += [(Name(each.source), each.figures) for each in report.published]
    for place, (source, figures) in enumerate(rows):
        found = [f"{figures[name]:.1f}" if name in figures else "-" for name in names]
        table.add_row(source, *found, style="bold" if place == 0 else "")
    console = Console()
    if names:
        console.print(table)
    console.print(Text(", ".join(f"{count:,} {counted}" for counted, count in measured.counts.items())))
    for note in report.notes:
        console.print(words(note))


def write_json(report: Report, file: Path) -> None:
    """All that was found. Raises `OSError`."""
    write_file(file, json.dumps(report.to_json()).encode() + b"\n")
