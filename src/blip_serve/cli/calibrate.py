"""`blip-serve calibrate`: makes a probability that holds of a model's ITM scores, by labelled pairs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from blip_serve.calibration import Calibration, read_calibration
from blip_serve.cli.bulk_options import BulkOptions
from blip_serve.cli.bulk_report import print_summary, say
from blip_serve.cli.bulk_run import run_job
from blip_serve.cli.calibrate_report import print_calibrated, told
from blip_serve.cli.charts import drawing
from blip_serve.cli.long_run import long_run
from blip_serve.cli.options import AsJson, Config, Model, Protocol
from blip_serve.directory import Directory, Known
from blip_serve.domain import ANYONE
from blip_serve.durable import as_name
from blip_serve.errors import ConfigurationError
from blip_serve.findings import Finding, Findings, machine
from blip_serve.in_process import local_settings
from blip_serve.jobs.calibrating.calibrate import fitted
from blip_serve.jobs.calibrating.labelled import LabelledOperator, read_pairs
from blip_serve.jobs.operators.serving import Serving
from blip_serve.jobs.sources.opening import Kind
from blip_serve.settings import Settings
from blip_serve.tasks.checkpoints import identity_of
from blip_serve.tasks.match import MatchRequest

CHART = "blip_serve.cli.calibrate_chart"


def calibrate(
    data: Annotated[
        list[str], typer.Argument(help="Labelled pairs: .jsonl, .csv, .tsv, .parquet or .tar files.", metavar="DATA...")
    ],
    caption: Annotated[str, typer.Option("--caption", help="Column with the caption.")],
    label: Annotated[
        str, typer.Option("--label", help="Column that says whether it is true: true, false, 1, 0, yes, no.")
    ],
    image: Annotated[
        str | None, typer.Option("--image", help="Column with the picture: a path, a URL, a data URI or bytes.")
    ] = None,
    prior: Annotated[
        float | None,
        typer.Option("--prior", help="How common true pairs are where it will be used, 0..1; else as in DATA."),
    ] = None,
    precision: Annotated[
        float, typer.Option("--precision", help="Name the threshold at which this share of the pairs kept is true.")
    ] = 0.95,
    to: Annotated[
        Path | None, typer.Option("--to", help="The calibration's file; else one in the settings' `data_dir`.")
    ] = None,
    chart: Annotated[Path | None, typer.Option("--chart", help="Draw the reliability diagram, as a .png.")] = None,
    root: Annotated[
        str | None, typer.Option("--root", help="Folder that paths in a column are below; else that of DATA.")
    ] = None,
    source_format: Annotated[
        Kind | None, typer.Option("--format", help="What DATA is, where its name does not say.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Chooses the half of the pictures that is fitted on.")] = 0,
    model: Model = None,
    protocol: Protocol = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Make a probability that holds of a model's ITM scores, by labelled pairs; goes on where it stopped.

    Half of the pictures are fitted on, the others are tested on. The file is for this checkpoint, protocol and number
    type. A row that cannot be scored is reported on standard error, and the others go on; the exit code is then 1.
    """
    for name, share in (("prior", prior), ("precision", precision)):
        if share is not None and not 0 < share < 1:
            raise ConfigurationError(f"--{name} {share:g}: it is a share, between 0 and 1.")
    if to:
        _check_free(to)
    draw = drawing(CHART, chart).draw if chart else None
    settings = local_settings(config)
    with long_run(data[0]):
        named = Directory(settings, Known).choose(model, MatchRequest.needs, ANYONE)
        chosen = protocol or named.model.settings.protocol
        identity = identity_of(named.id, settings, say)
        file = to or settings.data / "calibrations" / as_name(named.id) / f"{chosen}-{identity.dtype}.json"
        pairs_file = file.with_suffix(".pairs.jsonl")
        options = BulkOptions(
            sources=data,
            to=str(pairs_file),
            image=image,
            root=root,
            source_format=source_format,
            config=config,
            retry_failed=True,
        )
        operator = LabelledOperator(caption, label, identity.digest, identity.dtype, Serving(named.id, chosen))
        job, tally = run_job("calibrate", options, operator, _uncalibrated(settings))
        found = fitted(*read_pairs(pairs_file), named.id, chosen, identity, prior, seed)
        found.calibration.write(file)
        Findings(settings.data).keep(_finding(found.calibration))
        if draw and chart:
            draw(found, chart)
    print_summary(tally, None, job.rejects.path, as_json=False)
    if as_json:
        print(found.calibration.model_dump_json(indent=2))
    else:
        print_calibrated(found, file, precision)
    sys.exit(1 if tally.failed.total() else 0)


def _check_free(file: Path) -> None:
    """Raises `ConfigurationError` if a file would be replaced that is no calibration."""
    if file.exists():
        try:
            read_calibration(file)
        except ConfigurationError:
            raise ConfigurationError(f"--to {file}: it is there already, and is no calibration") from None


def _uncalibrated(settings: Settings) -> Settings:
    """Without the calibrations that they name: the new one may be for a checkpoint that the old one is not for."""
    models = tuple(model.model_copy(update={"calibration": ()}) for model in settings.models)
    return settings.model_copy(update={"models": models})


def _finding(calibration: Calibration) -> Finding:
    return Finding(
        kind="calibration",
        name=f"ITM, {calibration.protocol}",
        model=calibration.model,
        digest=calibration.digest,
        dtype=calibration.dtype,
        machine=machine(),
        figures=told(calibration),
    )
