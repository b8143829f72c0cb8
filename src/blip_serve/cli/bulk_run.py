"""Runs a bulk command from its plan to its summary: with models here, or on a server."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NoReturn

from blip_serve.cli.asking import OpenAsking, answering, asking
from blip_serve.cli.bulk_destination import check_free, destination_of
from blip_serve.cli.bulk_job import Wanted, described, open_job, passed_over, renamed
from blip_serve.cli.bulk_options import BulkOptions
from blip_serve.cli.bulk_report import Progress, print_summary, say, say_plan
from blip_serve.cli.cluster import LOCAL, find_cluster
from blip_serve.cli.long_run import long_run
from blip_serve.errors import ConfigurationError
from blip_serve.in_process import local_settings
from blip_serve.jobs.destination import Destination
from blip_serve.jobs.manifest import Manifest, copy_manifest
from blip_serve.jobs.pictures import open_pictures
from blip_serve.jobs.pipeline import Job, Pipeline
from blip_serve.jobs.run import Run, Segments
from blip_serve.jobs.tally import Tally
from blip_serve.settings import Settings
from blip_serve.telemetry import make_log, open_tracing

if TYPE_CHECKING:
    from blip_serve.tracing import Tracing


def run_bulk(name: str, options: BulkOptions, wanted: Wanted, asking: OpenAsking = asking) -> NoReturn:
    """Runs a command and ends the process: exit code 1 if rows failed. Raises as `run_job`."""
    with long_run(options.to or options.sources[0]):
        job, tally = run_job(name, options, wanted, local_settings(options.config), asking)
    print_summary(tally, job.operator.score, job.rejects.path, options.as_json)
    sys.exit(1 if tally.failed.total() else 0)


def run_job(
    name: str, options: BulkOptions, wanted: Wanted, settings: Settings, asking: OpenAsking = asking
) -> tuple[Job, Tally]:
    """Plans, and unless it is a dry run, processes. `asking`: opens what runs requests.

    Raises `ConfigurationError` for options that do not fit each other, the source, or an earlier run.
    """
    to = destination_of(options)
    _check(options, to)
    check_free(options, to)
    with ExitStack() as stack:
        state = _state(options, to, stack)
        job = open_job(options, wanted, settings, to, state)
        servings = answering(job.operator.asks, options, settings)
        manifest = stack.enter_context(Manifest(state, to.state))
        _agree(manifest, to, options, {"operator": name, **described(job, options, servings), "kind": to.kind})
        run = Run(job, manifest, options.part, options.limit, options.retry_failed)
        plan = run.plan()
        models = [str(serving.model) for serving in servings]
        say_plan(plan, name, models, to, renamed(job), passed_over(job))
        if options.dry_run:
            say("a dry run: nothing was done")
            sys.exit(0)
        with closing(Progress(plan.left)) as progress:
            segments = _segments(job, options, settings, to, progress, asking)
            return job, asyncio.run(_process(run, segments))


def _check(options: BulkOptions, to: Destination) -> None:
    if options.url and options.ray:
        raise ConfigurationError("Give --url or --ray: a server answers, or the models of the cluster's actors.")
    if options.ray_actors and not options.ray:
        raise ConfigurationError("--ray-actors needs --ray.")
    if options.ray not in (None, LOCAL) and to.kind == "sidecar":
        raise ConfigurationError("--ray: sidecars are written on one machine only; give --ray local, or another --as.")


def _state(options: BulkOptions, to: Destination, stack: ExitStack) -> Path:
    """The folder of the run's state; for a dry run, which changes nothing, a copy."""
    if not options.dry_run:
        return to.state
    copy = Path(stack.enter_context(TemporaryDirectory()))
    copy_manifest(to.state, copy)
    return copy


def _agree(manifest: Manifest, to: Destination, options: BulkOptions, described: Mapping[str, Any]) -> None:
    """Compares the run with the one that began here.

    Sidecars show themselves what is done: a run with other options, or over a folder that has changed, begins anew and
    skips those that are there. It may overwrite them if it was asked to, once the other run is at its end.
    """
    if manifest.finished and not to.path.exists():
        raise ConfigurationError(
            f"{to.path}: it is gone, though its run ended; delete {to.state} and the rejects to run again"
        )
    begin_anew = to.kind == manifest.option("kind") == "sidecar" and (options.existing == "skip" or manifest.finished)
    if begin_anew and options.existing == "skip" and manifest.finished:
        manifest.forget()  # a file that was deleted since is written again
    manifest.agree(described, begin_anew)


async def _process(run: Run, segments: AbstractAsyncContextManager[Segments]) -> Tally:
    async with segments as process:
        return await run.process(process)


@asynccontextmanager
async def _segments(
    job: Job, options: BulkOptions, settings: Settings, to: Destination, progress: Progress, asking: OpenAsking
) -> AsyncIterator[Segments]:
    """What processes rows: the actors of a cluster, or a pipeline here."""
    if options.ray:
        cluster = find_cluster(options.ray)
        with cluster(options.ray, job, settings, to.state, options.ray_actors, progress.segment) as segments:
            yield segments
    else:
        async with asking(options, settings) as ask, open_pictures(settings.images) as pictures:
            with _traced(job, settings) as tracing:
                yield Pipeline(job, ask, pictures, progress.row, tracing).segments


@contextmanager
def _traced(job: Job, settings: Settings) -> "Iterator[Tracing | None]":
    """A span around the run, if traces are wanted."""
    tracing = open_tracing(make_log(settings.log))
    if tracing is None:
        yield None
        return
    try:
        with tracing.work("bulk") as traced:
            traced.note({"blip_serve.operator": type(job.operator).__name__})
            yield tracing
    finally:
        tracing.close()
