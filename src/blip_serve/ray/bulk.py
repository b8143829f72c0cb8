"""Bulk runs on a Ray cluster: its actors process segments, and what they have written comes back here."""

import pickle
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path

import pyarrow
import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset
from ray.exceptions import RayError, RayTaskError

from blip_serve.errors import Unavailable
from blip_serve.in_process import DOWNLOAD_S
from blip_serve.jobs.manifest import Segment
from blip_serve.jobs.pipeline import Job
from blip_serve.jobs.plan import Todo
from blip_serve.jobs.run import Segments
from blip_serve.ray.connection import connected
from blip_serve.ray.tries import Tries
from blip_serve.ray.worker import RESULT, TODO, Work, Worker
from blip_serve.settings import AuthSettings, Settings
from blip_serve.threads import in_thread

HANDED = 2048
"""Todos that Ray is given at once: half a million rows. The pool of actors is a new one for the next."""
AT_ONCE = 2
"""Todos that an actor has at once. While the last rows of one are processed, the first of the next are too."""
CPUS = 1
"""Cores of an actor."""
NO_PROGRESS_S = 2 * DOWNLOAD_S
"""Seconds without a segment after which Ray ends the run. A model may be downloaded first."""
TRIES = "tries"
BLOCK_BYTES = 2**20
"""Far above what a segment has. Ray keeps so much room for the result of each call."""


@contextmanager
def cluster(
    address: str, job: Job, settings: Settings, state: Path, most: int | None, on_segment: Callable[[Segment], object]
) -> Iterator[Segments]:
    """What processes todos on a cluster, while inside.

    `address`: `local` for a cluster of this machine that lasts as long, `auto`, or a host and a port. `state`:
    the folder of the run's state, which all machines share. `most`: actors; by default as many as the cluster has room
    for. `on_segment` is called for each segment that was written.
    Raises `ConfigurationError` if there is no such cluster.
    """
    tries = Tries(state / TRIES)
    tries.clear()
    try:
        with connected(address):
            yield Actors(job, settings, tries.folder, most, on_segment).segments
    finally:
        tries.delete()


class Actors:
    """A pool of actors. It grows while all of them are busy and the cluster has room, from one to `most`."""

    def __init__(
        self, job: Job, settings: Settings, tries: Path, most: int | None, on_segment: Callable[[Segment], object]
    ) -> None:
        self._work = Work(job, _of_actor(settings), Path.cwd(), tries.absolute())
        self._gpus = int(settings.device == "cuda" or (settings.device == "auto" and _has_gpus()))
        self._most = most
        self._on_segment = on_segment

    async def segments(self, todo: Iterator[Todo]) -> AsyncGenerator[Segment, None]:
        """Processes all of `todo`. Yields a segment when its parts are durably written, in any order.

        Raises what `Pipeline.segments` raises, and `Unavailable` if the cluster fails.
        """
        while handed := await in_thread(lambda: [pickle.dumps(each) for each in islice(todo, HANDED)], "todo"):
            results = self._results(handed)
            try:
                while (result := await in_thread(partial(_next, results), "ray")) is not None:
                    if isinstance(result, Exception):
                        raise result
                    self._on_segment(result)
                    yield result
            finally:
                with suppress(ValueError):  # a thread still waits for the next: it ends with the cluster
                    results.close()

    def _results(self, handed: list[bytes]) -> Generator[Segment | Exception, None, None]:
        """As the actors return them."""
        with DataContext.current(_context()):
            made = self._dataset(handed)
        for batch in made.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for result in batch.column(RESULT).to_pylist():
                yield pickle.loads(result)

    def _dataset(self, handed: list[bytes]) -> Dataset:
        """A block, and so a call, for each todo."""
        blocks = [pyarrow.table({TODO: [each]}) for each in handed]
        return ray.data.from_arrow(blocks).map_batches(
            Worker,
            fn_constructor_args=(self._work,),
            batch_size=1,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(
                min_size=1,
                max_size=self._most,
                max_tasks_in_flight_per_actor=AT_ONCE,
                max_concurrent_calls_per_actor=AT_ONCE,
                enable_true_multi_threading=True,
            ),
            num_cpus=CPUS,
            num_gpus=self._gpus,
        )


def _has_gpus() -> bool:
    return bool(ray.cluster_resources().get("GPU", 0) >= 1)


def _context() -> DataContext:
    """How Ray runs the data set: silently, and with a further actor as soon as all are busy."""
    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = BLOCK_BYTES
    context.execution_no_progress_timeout_s = NO_PROGRESS_S
    context.autoscaling_config.actor_pool_util_upscaling_threshold = 0.9
    return context


def _of_actor(settings: Settings) -> Settings:
    """The settings of this process, with as many threads as an actor has cores, and without keys."""
    return settings.model_copy(update={"threads": settings.threads or CPUS, "auth": AuthSettings()})


def _next(results: Iterator[Segment | Exception]) -> Segment | Exception | None:
    try:
        return next(results, None)
    except RayTaskError:
        raise  # a bug, told with its traceback
    except RayError as error:
        raise Unavailable(f"The Ray cluster failed: {error}") from None
