"""One bulk run from its plan to its end: what is left is processed, recorded, and joined. Knows no terminal."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass

from blip_serve.jobs.manifest import Manifest, Segment
from blip_serve.jobs.pipeline import Job
from blip_serve.jobs.plan import WHOLE, Shard, Todo, cuts, todo
from blip_serve.jobs.rejects import Rejects
from blip_serve.jobs.rows import Cut
from blip_serve.jobs.sinks.sink import Sink
from blip_serve.jobs.tally import Tally

Segments = Callable[[Iterator[Todo]], AsyncGenerator[Segment, None]]
"""Processes what is to do and yields what is durably written: `Pipeline.segments`, or the actors of a cluster."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do.

    `rows`: of the whole run, `None` if only reading all would tell. `done`: of these, before. `passing`: rows that
    failed and may pass now, but are not taken up. `left`: rows that are processed now, `None` if `rows` is.
    """

    rows: int | None
    done: int
    passing: int
    left: int | None


class Run:
    """A run with its open manifest.

    `limit`: only the source's first rows. `retry`: also rows that failed and may pass now.
    """

    def __init__(
        self, job: Job, manifest: Manifest, shard: Shard, limit: int | None = None, retry: bool = False
    ) -> None:
        self._job = job
        self._manifest = manifest
        self._shard = shard
        self._limit = limit
        self._retry = retry

    def plan(self) -> Plan:
        """Counts rows. Raises what `Source.cuts` raises."""
        rows = self._job.source.count()
        if rows is not None and self._shard != WHOLE:
            rows = sum(cut.count for cut in self._cuts())
        elif rows is not None and self._limit is not None:
            rows = min(rows, self._limit)
        done, passing = self._manifest.rows(), self._manifest.passing()
        retried, passing = (passing, 0) if self._retry else (0, passing)
        if rows is None:
            return Plan(None, done, passing, None)
        return Plan(rows, min(done, rows), passing, max(0, rows - done) + retried)

    async def process(self, segments: Segments) -> Tally:
        """Does what is left, and joins the parts. Returns the tally of the whole run, also of what was done before."""
        async with aclosing(segments(todo(self._cuts(), self._manifest, self._retry))) as made:
            async for segment in made:
                await asyncio.to_thread(self._manifest.commit, segment)
        return await asyncio.to_thread(self._end)

    def _end(self) -> Tally:
        """Joins the parts. They are deleted if nothing can follow: no further rows, and none to be taken up again."""
        manifest = self._manifest
        sinks: tuple[Sink | Rejects, ...] = (self._job.sink, self._job.rejects)
        if not manifest.finished:
            for sink in sinks:
                sink.join(manifest.parts())
            if self._limit is None and not manifest.passing():
                manifest.finish()
        if manifest.finished:  # perhaps by a run that was stopped here
            for sink in sinks:
                sink.clean(manifest.parts())
        return manifest.tally()

    def _cuts(self) -> Iterator[Cut]:
        return cuts(self._job.source, self._shard, self._limit)
