"""The options that all evaluations share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from blip_serve.cli.options import ApiKey, Config, Model, Protocol, Url
from blip_serve.jobs.evaluation.answering import AT_ONCE


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateOptions:
    """The options of every evaluation. Each field is one of the command's parameters."""

    data: Annotated[
        str, typer.Argument(help="The data set's file or folder; see jobs/evaluation/README.md.", metavar="DATA")
    ]
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder that the pictures' names are below; else that of DATA.")
    ] = None
    model: Model = None
    protocol: Protocol = None
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Folder of the answers, from which a run that was stopped goes on; else one in `data_dir`."
        ),
    ] = None
    report: Annotated[Path | None, typer.Option("--report", help="Write all that was found to this file, as JSON.")] = (
        None
    )
    chart: Annotated[
        Path | None, typer.Option("--chart", help="Draw the figures beside the published ones, as a .png.")
    ] = None
    url: Url = None
    api_key: ApiKey = None
    at_once: Annotated[int, typer.Option("--at-once", min=1, max=1024, help="Requests under way at once.")] = AT_ONCE
    config: Config = None
