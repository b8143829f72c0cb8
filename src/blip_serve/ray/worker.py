"""An actor of a bulk run: one service and one pipeline, which process the segments that it is given."""

import asyncio
import os
import pickle
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path

import pyarrow

from blip_serve.allocator import keep_memory
from blip_serve.errors import ConfigurationError, ServiceError
from blip_serve.in_process import AsyncBlipServe
from blip_serve.jobs.asking import Asking
from blip_serve.jobs.manifest import Segment
from blip_serve.jobs.pictures import open_pictures
from blip_serve.jobs.pipeline import Job, Pipeline
from blip_serve.jobs.plan import Todo
from blip_serve.ray.tries import Tries
from blip_serve.settings import Settings
from blip_serve.threads import LoopThread, outcome_of

TODO, RESULT = "todo", "result"
"""The columns of the batches that a worker takes and returns. Both hold pickled objects."""
OF_RUN = (ServiceError, ConfigurationError, OSError)
"""What a worker returns rather than raises, so that the run ends with the error's own message."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a worker works on. `folder`: what relative paths are below. `tries`: a folder that the run made."""

    job: Job
    settings: Settings
    folder: Path
    tries: Path


class Worker:
    """Processes one todo a call, several calls at once. Returns its segment, or the error that ends the run.

    It has a process of its own, whose working folder it sets.
    """

    def __init__(self, work: Work) -> None:
        keep_memory()
        self._loop = LoopThread("bulk worker")
        self._open = AsyncExitStack()  # open as long as the process is
        self._tries = Tries(work.tries)
        self._feed, self._failed = outcome_of(lambda: self._loop.wait_for(self._start(work)))

    def __call__(self, batch: pyarrow.Table) -> pyarrow.Table:
        """`batch` has one row, as the table returned."""
        [todo] = batch.column(TODO).to_pylist()
        return pyarrow.table({RESULT: [pickle.dumps(self._process(pickle.loads(todo)))]})

    def _process(self, todo: Todo) -> Segment | Exception:
        try:
            if self._feed is None:
                raise self._failed or RuntimeError("not started")
            self._tries.begin(todo)
            return self._loop.wait_for(self._feed.process(todo))
        except OF_RUN as error:
            return error.with_traceback(None)
        finally:
            self._tries.end(todo)

    async def _start(self, work: Work) -> "Feed":
        _check(work)
        os.chdir(work.folder)
        blip = await self._open.enter_async_context(AsyncBlipServe(work.settings))
        pictures = await self._open.enter_async_context(open_pictures(work.settings.images))
        return Feed(Pipeline(work.job, Asking(blip.run), pictures).segments)


class Feed:
    """Feeds todos that come one by one to a pipeline. It begins with the next before the last one's rows are done."""

    def __init__(self, segments: Callable[[Iterator[Todo]], AsyncGenerator[Segment, None]]) -> None:
        self._segments = segments
        self._waiting: deque[Todo] = deque()
        self._asked: deque[asyncio.Future[Segment]] = deque()
        self._working: asyncio.Task[None] | None = None

    async def process(self, todo: Todo) -> Segment:
        """The segment of a todo. Raises the error that ends the run, for all todos under way."""
        asked: asyncio.Future[Segment] = asyncio.get_running_loop().create_future()
        self._asked.append(asked)
        self._waiting.append(todo)
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        return await asked

    async def _work(self) -> None:
        try:
            while self._waiting:
                async with aclosing(self._segments(self._next())) as made:
                    async for segment in made:  # in the order of the todos
                        self._asked.popleft().set_result(segment)
        except Exception as error:
            for asked in self._asked:
                asked.set_exception(error)
            self._asked.clear()
            self._waiting.clear()
        finally:
            self._working = None

    def _next(self) -> Iterator[Todo]:
        """What waits. It is read on a thread, and ends rather than wait for more: rows read ahead would wait too."""
        while self._waiting:
            yield self._waiting.popleft()


def _check(work: Work) -> None:
    """Raises `ConfigurationError` where this machine has not the run's files."""
    for path in (work.folder, work.tries):
        if not path.exists():
            raise ConfigurationError(
                f"{path}: not there on {os.uname().nodename}; all machines of the cluster must share a file system"
            )
