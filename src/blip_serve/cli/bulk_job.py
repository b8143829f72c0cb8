"""What a bulk command is to do: its options as a source, an operator and a sink. Runs nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from blip_serve.cli.bulk_destination import rejects_of
from blip_serve.cli.bulk_options import BulkOptions
from blip_serve.cli.bulk_precision import AtPrecision, filter_at
from blip_serve.cli.long_run import words_of
from blip_serve.errors import ConfigurationError
from blip_serve.jobs.destination import Destination
from blip_serve.jobs.operators.best import BestShare, find_best
from blip_serve.jobs.operators.operator import Operator
from blip_serve.jobs.operators.reads import check_reads
from blip_serve.jobs.operators.serving import Serving
from blip_serve.jobs.pipeline import Job, together
from blip_serve.jobs.plan import CUT_ROWS, WHOLE
from blip_serve.jobs.rejects import Rejects
from blip_serve.jobs.rows import ColumnType
from blip_serve.jobs.sinks import SinkOptions, make_sink
from blip_serve.jobs.sinks.record import without
from blip_serve.jobs.sinks.sink import Sink
from blip_serve.jobs.sources.folder import Folder
from blip_serve.jobs.sources.opening import SourceOptions, open_source
from blip_serve.jobs.sources.records import Columns
from blip_serve.jobs.sources.source import Source
from blip_serve.jobs.sources.spool import NAME as KEPT_INPUT
from blip_serve.settings import Settings

NOT_COMPARED = ("model", "protocol")
"""Ends of the names of an operator's options that are compared otherwise."""


Wanted = Operator | BestShare | AtPrecision
"""An operator, or a wish that is turned into one when the source or the model is known."""


def open_job(options: BulkOptions, wanted: Wanted, settings: Settings, to: Destination, state: Path) -> Job:
    """Opens the source. One that cannot be read is the command's fault.

    `state`: where standard input is kept, unless it was kept by an earlier run.
    """
    try:
        source = _source(options, settings, to.state if (to.state / KEPT_INPUT).exists() else state)
        columns = source.columns()
        if isinstance(wanted, AtPrecision):
            wanted = filter_at(wanted, options, settings)
        operator = _operator(wanted, source, to).fitted(columns)
    except OSError as error:
        raise ConfigurationError(words_of(error, options.sources[0])) from None
    if columns:
        check_reads(operator, columns)
    sink = _sink(options, operator, together(columns, operator.columns, operator.columns, columns), to, source)
    rejects = Rejects(rejects_of(options, to), to.state / "rejects")
    return Job(source, operator, sink, rejects, options.at_once, tuple(columns))


def renamed(job: Job) -> dict[str, str]:
    """The source's columns that are written under other names, because the operator has columns of these."""
    others = without(dict.fromkeys(job.columns), job.operator.columns, job.columns)
    return {name: other for name, other in zip(job.columns, others, strict=True) if name != other}


def passed_over(job: Job) -> tuple[str, ...]:
    """The files in folders of pictures that are no rows: a line for each reason."""
    return job.source.passed_over() if isinstance(job.source, Folder) else ()


def described(job: Job, options: BulkOptions, answering: Sequence[Serving]) -> dict[str, Any]:
    """All that decides what is written, and where. Models have several names: it is those of `answering`."""
    operator = {name: value for name, value in _flat("", job.operator).items() if not name.endswith(NOT_COMPARED)}
    sink = ("kind", "image", "key", "root", "sidecar", "existing", "prefix", "suffix", "with_images", "shard")
    return {
        "models": [serving.model for serving in answering],
        "protocols": [serving.protocol for serving in answering],
        **operator,
        **{name: getattr(options, name) for name in sink},
        "rejects": options.rejects and str(options.rejects),
        "source": dict(job.source.identity()),
    }


def _flat(name: str, value: Any) -> dict[str, Any]:
    """The fields of a dataclass, those of inner ones as `outer.inner`."""
    if not is_dataclass(value):
        return {name: value}
    found: dict[str, Any] = {}
    for field in fields(value):
        found |= _flat(f"{name}.{field.name}" if name else field.name, getattr(value, field.name))
    return found


def _source(options: BulkOptions, settings: Settings, state: Path) -> Source:
    wanted = SourceOptions(
        Columns(options.image, options.key),
        options.root,
        options.source_format,
        frozenset(settings.images.formats),
        state,
    )
    return open_source(options.sources, wanted)


def _operator(wanted: Operator | BestShare, source: Source, to: Destination) -> Operator:
    if not isinstance(wanted, BestShare):
        return wanted
    rows = (row for cut in source.cuts(CUT_ROWS) for row in source.rows(cut))
    there = next(folder for folder in to.state.parents if folder.is_dir())  # on the disk that has room for the rows
    return find_best(rows, wanted.score, wanted.share, there)


def _sink(
    options: BulkOptions, operator: Operator, columns: Mapping[str, ColumnType], to: Destination, source: Source
) -> Sink:
    shared = to.kind == "sidecar" and to.shard != WHOLE
    numbering = list(source.identity().values()) if shared else []  # without the paths: machines have their own
    return make_sink(
        to,
        SinkOptions(
            columns,
            operator.text,
            options.with_images,
            options.sidecar or ".txt",
            options.prefix,
            options.suffix,
            options.existing,
            sha256(repr(numbering).encode()).hexdigest()[:16],
        ),
    )
