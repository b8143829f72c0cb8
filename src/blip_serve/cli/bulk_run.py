"""Runs a bulk command from its plan to its summary: with models here, or on a server."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn, TypeAlias, TypeVar

from blip_serve.allocator import keep_memory
from blip_serve.cli.bulk_destination import check_free, destination_of
from blip_serve.cli.bulk_job import answering, described, open_job, passed_over, renamed, words_of
from blip_serve.cli.bulk_options import BulkOptions
from blip_serve.cli.bulk_report import Progress, print_summary, say, say_plan
from blip_serve.cli.cluster import LOCAL, find_cluster
from blip_serve.cli.one_request import exit_on_error
from blip_serve.errors import ConfigurationError
from blip_serve.in_process import AsyncBlipServe, local_settings
from blip_serve.jobs.asking import Asking
from blip_serve.jobs.destination import Destination
from blip_serve.jobs.manifest import Manifest, copy_manifest
from blip_serve.jobs.operators.best import BestShare
from blip_serve.jobs.operators.operator import Ask, Operator
from blip_serve.jobs.pictures import open_pictures
from blip_serve.jobs.pipeline import Job, Pipeline
from blip_serve.jobs.run import Run, Segments
from blip_serve.jobs.tally import Tally
from blip_serve.remote.tasks import RemoteTasks
from blip_serve.settings import Settings
from blip_serve.tasks.request import Request

R = TypeVar("R")
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells expect it."""
NICE = 10
"""How far a run on a server stands back on this machine, which may be the server's."""
GO_ON = "the same command goes on from here"
OpenAsking: TypeAlias = Callable[[BulkOptions, Settings], AbstractAsyncContextManager[Ask]]
"""Opens what runs requests."""


@asynccontextmanager
async def asking(options: BulkOptions, settings: Settings) -> AsyncIterator[Ask]:
    """What runs requests: models here, or a server."""
    if options.url:
        if hasattr(os, "nice"):  # Windows has none
            os.nice(NICE)
        async with RemoteTasks(options.url, options.api_key, connections=options.at_once) as remote:

            async def run(request: Request[R], /) -> R:
                """By the model that is recorded, whatever the server's default is."""
                model = request.model or await remote.choose(request.needs)
                return await remote.run(replace(request, model=model))

            yield Asking(run)
    else:
        async with AsyncBlipServe(settings) as blip:
            yield Asking(blip.run)


def run_bulk(
    name: str,
    options: BulkOptions,
    wanted: Operator | BestShare,
    asking: OpenAsking = asking,
) -> NoReturn:
    """Runs a command and ends the process: exit code 1 if rows failed. `asking`: opens what runs requests.

    Raises `ConfigurationError` for options that do not fit each other, the source, or an earlier run.
    """
    keep_memory()
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        with exit_on_error():
            job, tally = _run(name, options, wanted, asking)
    except KeyboardInterrupt:
        say(f"stopped; {GO_ON}")
        sys.exit(INTERRUPTED)
    except OSError as error:
        say(f"{words_of(error, options.to or options.sources[0])}; when that is mended, {GO_ON}")
        sys.exit(1)
    print_summary(tally, job.operator.score, job.rejects.path, options.as_json)
    sys.exit(1 if tally.failed.total() else 0)


def _as_interrupt(number: int, frame: object) -> None:
    """SIGTERM ends a run as Ctrl-C does."""
    signal.raise_signal(signal.SIGINT)


def _run(
    name: str,
    options: BulkOptions,
    wanted: Operator | BestShare,
    asking: OpenAsking,
) -> tuple[Job, Tally]:
    """Plans, and unless it is a dry run, processes."""
    settings = local_settings(options.config)
    to = destination_of(options)
    _check(options, to)
    check_free(options, to)
    with ExitStack() as stack:
        state = _state(options, to, stack)
        job = open_job(options, wanted, settings, to, state)
        servings = answering(job.operator, options, settings)
        manifest = stack.enter_context(Manifest(state, to.state))
        _agree(manifest, to, options, {"operator": name, **described(job, options, servings), "kind": to.kind})
        run = Run(job, manifest, options.part, options.limit, options.retry_failed)
        plan = run.plan()
        models = [str(serving.model) for serving in servings]
        say_plan(plan, name, models, to, renamed(job), passed_over(job))
        if options.dry_run:
            say("a dry run: nothing was done")
            sys.exit(0)
        settings = settings.model_copy(update={"max_loaded": max(settings.max_loaded, len(set(models)))})
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
            yield Pipeline(job, ask, pictures, progress.row).segments
