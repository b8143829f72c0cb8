"""What `blip-serve models --fit` prints and keeps."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from blip_serve.cli.tables import Name
from blip_serve.directory import ModelStatus
from blip_serve.findings import Finding, Findings, machine
from blip_serve.fit import NAME, Fit

Fits = Sequence[tuple[ModelStatus, Sequence[Fit]]]
CAPTION = "memory in MB; pairs a second: new images with one caption each, an estimate from 5 seconds"


def print_fits(fits: Fits) -> None:
    """A row for each model and number type."""
    table = Table(box=None, caption=CAPTION, caption_justify="right")
    table.add_column("model", min_width=22)
    table.add_column("type", min_width=8)  # in a narrow terminal no figure may lose its last digits
    for name in ("at rest", "full step", "at most"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    table.add_column("fits", min_width=4)
    table.add_column("pairs/s", justify="right", no_wrap=True, min_width=7)
    for status, found in fits:
        if not found:
            table.add_row(Name(status.id), "not pulled")
        for i, fit in enumerate(found):
            table.add_row("" if i else Name(status.id), *_cells(fit))
    Console().print(table)


def as_json(fits: Fits) -> list[dict[str, object]]:
    """The same as JSON."""
    return [{"id": status.id, "fit": [fit.model_dump() for fit in found]} for status, found in fits]


def keep_fits(fits: Fits, data: Path) -> None:
    """Keeps them as findings, which a model's page shows. Says so on standard error where that fails."""
    findings = Findings(data)
    try:
        for status, found in fits:
            for fit in found:
                findings.keep(
                    Finding(
                        kind="fit",
                        name=NAME,
                        model=status.id,
                        digest="",  # it depends on the sizes only
                        dtype=fit.dtype,
                        machine=machine(),
                        figures=fit.figures,
                    )
                )
    except OSError as error:
        print(f"blip-serve: {data}: {error.strerror}: the figures are not kept", file=sys.stderr)


def _cells(fit: Fit) -> list[str]:
    sizes = [f"{size / 1e6:.0f}" for size in (fit.rest_bytes, fit.step_bytes, fit.held_bytes)]
    pairs = fit.pairs_per_second or 0.0
    speed = f"{pairs:.0f}" if pairs >= 10 else f"{pairs:.2g}"
    return [fit.dtype, *sizes, "yes" if fit.fits else "no", speed]
