"""`blip-serve bulk` and `eval` with a fake model, in a process that is easily killed: a fork that has all imported."""

import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import Any, TypeVar

import typer

from blip_serve.cli import tell
from blip_serve.cli.asking import AskOptions
from blip_serve.cli.bulk import OPERATORS
from blip_serve.cli.bulk_options import bulk_command
from blip_serve.cli.bulk_run import run_bulk
from blip_serve.cli.evaluate import EVALUATIONS
from blip_serve.cli.evaluate_run import run_evaluation
from blip_serve.errors import ConfigurationError, DeadlineExceeded
from blip_serve.jobs.operators.operator import Ask
from blip_serve.models.fake import FakeModel
from blip_serve.settings import Settings
from blip_serve.tasks.request import Request
from blip_serve.tasks.service import open_service
from blip_serve.telemetry import Telemetry
from tests.support.server import QUIET, always, fake_settings
from tests.support.waiting import WAIT_S

R = TypeVar("R")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_DIRECTORY
ASKED = "asked the model"
"""A line of each request that was answered."""
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__, "blip_serve.jobs.sinks.parquet", "blip_serve.jobs.sinks.webdataset"])


@dataclass(frozen=True)
class Fate:
    """What befalls a run. `dies_at`: it kills itself when it is about to create, sync, rename or delete a file for the
    n-th time. `dies_after`: when its n-th request is answered. `full_at`: from such a time on the disk is full. `late`:
    so many of ten rows run out of time. `embedded`: the model is no fake, but the one that ships in the package.
    `tells`: each request that is answered is told."""

    dies_at: int | None = None
    dies_after: int | None = None
    full_at: int | None = None
    late: int = 0
    embedded: bool = False
    tells: bool = False


ALL_IS_WELL = Fate()


@dataclass(frozen=True)
class Ended:
    """A run that has ended. `events`: how often a kill could have met it; unknown if one did. `asked`: as told."""

    code: int
    said: str
    events: int
    asked: int


def fake_bulk(arguments: list[str], fate: Fate = ALL_IS_WELL) -> Ended:
    """Runs `blip-serve bulk` with `arguments` to its end; `blip-serve eval`, if `eval` is the first of them."""
    reader, writer = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_run, args=(arguments, writer, fate))
    process.start()
    writer.close()
    said = b""
    while some := os.read(reader.fileno(), 1 << 16):
        said += some
    reader.close()
    process.join(WAIT_S)
    assert process.exitcode is not None
    last = said.decode().rpartition("events: ")[2].strip()
    return Ended(process.exitcode, said.decode(), int(last) if last.isdecimal() else 0, said.count(ASKED.encode()))


class Fatal:
    """An audit hook: counts what happens to files, and at a given count kills the process as `kill -9` does."""

    def __init__(self, fate: Fate) -> None:
        self.count = 0
        self._fate = fate

    def __call__(self, event: str, arguments: Any) -> None:
        """Reading alone does not count; opening a folder does, since that is done to sync it."""
        if event in ("os.rename", "os.remove") or (event == "open" and arguments[2] & WRITES):
            self.count += 1
            if self.count == self._fate.dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.count == self._fate.full_at:
                resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def _run(arguments: list[str], log: Any, fate: Fate) -> None:
    for standard in (1, 2):
        os.dup2(log.fileno(), standard)
    log.close()
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    fatal = Fatal(fate)
    sys.addaudithook(fatal)
    try:
        _app(fate)(arguments)
    except ConfigurationError as error:
        tell(error)
        sys.exit(2)
    finally:
        sys.stderr.flush()
        print("events:", fatal.count, flush=True)


def _app(fate: Fate) -> typer.Typer:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    for make in OPERATORS:
        run = run_bulk if fate.embedded else partial(run_bulk, asking=partial(_asking, fate))
        app.command(make.__name__)(bulk_command(make, run))
    evaluations = typer.Typer()
    app.add_typer(evaluations, name="eval")
    for evaluation in EVALUATIONS:
        evaluations.command(evaluation.__name__)(
            bulk_command(evaluation, partial(run_evaluation, asking=partial(_asking, fate)))
        )
    return app


@asynccontextmanager
async def _asking(fate: Fate, options: AskOptions, settings: Settings) -> AsyncIterator[Ask]:
    model, asked = FakeModel("match", "embed", "caption", "answer"), list[int]()
    async with open_service(fake_settings(), Telemetry(QUIET), always(model)) as tasks:

        async def ask(request: Request[R], /) -> R:
            if sha256(repr(request).encode()).digest()[0] % 10 < fate.late:
                raise DeadlineExceeded("It took too long.")
            result = await tasks.run(replace(request, model=None))  # whatever it is called, it is the fake
            asked.append(1)
            if len(asked) == fate.dies_after:
                os.kill(os.getpid(), signal.SIGKILL)
            if fate.tells:
                print(ASKED, file=sys.stderr, flush=True)
            return result

        yield ask
