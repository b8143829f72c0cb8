"""Processes cuts of rows: source, pictures, operator, sink. Runs alike in this process and in an actor of a cluster."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from blip_serve.errors import InvalidInput, ServiceError
from blip_serve.images.reference import BytesImage
from blip_serve.jobs.asking import ends_run
from blip_serve.jobs.manifest import Segment, part_name
from blip_serve.jobs.operators.operator import Ask, Operator
from blip_serve.jobs.pictures import Pictures
from blip_serve.jobs.plan import Todo
from blip_serve.jobs.rejects import Rejects
from blip_serve.jobs.rows import Dropped, Existing, Failed, Fields, Kept, Outcome, Processed, Row
from blip_serve.jobs.sinks.record import without
from blip_serve.jobs.sinks.sink import Sink
from blip_serve.jobs.sources.source import Source
from blip_serve.jobs.spans import SegmentSpans
from blip_serve.jobs.tally import Tally
from blip_serve.jobs.window import in_order

if TYPE_CHECKING:
    from blip_serve.tracing import Tracing

T = TypeVar("T")

AT_ONCE = 64
"""Rows under way at once."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is done to which rows, and where they go. Picklable. `columns`: those of the source, as far as known."""

    source: Source
    operator: Operator
    sink: Sink
    rejects: Rejects
    at_once: int = AT_ONCE
    columns: Collection[str] = ()

    @property
    def needs_picture(self) -> bool:
        """Whether pictures are read at all."""
        return self.operator.needs_picture or self.sink.needs_picture


class Pipeline:
    """Processes rows of a job. `ask` runs requests, `pictures` reads pictures. `on_row` is called for each row.

    `tracing`: makes a span of each segment, from its first row's reading to its commit.
    """

    def __init__(
        self,
        job: Job,
        ask: Ask,
        pictures: Pictures,
        on_row: Callable[[Processed], object] | None = None,
        tracing: "Tracing | None" = None,
    ) -> None:
        self._job = job
        self._ask = ask
        self._pictures = pictures
        self._on_row = on_row or (lambda processed: None)
        self._spans = None if tracing is None else SegmentSpans(tracing)

    async def segments(self, todo: Iterator[Todo]) -> AsyncGenerator[Segment, None]:
        """Processes all of `todo`. Yields a segment when its parts are durably written.

        Raises the error of a request that concerns the whole run, and `OSError` if the sink or the source fails. What
        is not yet committed is then discarded.
        """
        at_once = self._job.at_once
        held = at_once if self._job.sink.needs_picture else None  # results with pictures are no small thing to keep
        results = in_order(_rows(todo, self._job.source), self._process, at_once, held)
        writing: Writing | None = None
        committing: asyncio.Future[Segment] | None = None  # while the next segment is written: disks are slow to sync
        try:
            async for each, processed in results:
                if committing is not None and committing.done():  # at once: a cluster gives an actor the next then
                    yield await committing
                    committing = None
                writing = writing or Writing(self._job, each)
                self._on_row(writing.add(processed))
                if writing.left == 0:
                    if committing is not None:
                        yield await committing
                    committing = asyncio.ensure_future(self._commit(writing))
                    writing = None
            if committing is not None:
                yield await committing
        finally:
            await results.aclose()
            if writing is not None:
                writing.discard()
            if committing is not None:
                await asyncio.gather(committing, return_exceptions=True)
            if self._spans is not None:
                self._spans.close()

    async def _commit(self, writing: "Writing") -> Segment:
        segment = await asyncio.to_thread(writing.commit)
        if self._spans is not None:
            self._spans.written(segment)
        return segment

    async def _process(self, given: tuple[Todo, Row]) -> tuple[Todo, Processed]:
        each, row = given
        try:
            with nullcontext() if self._spans is None else self._spans.under(each):
                processed = await self._processed(row)
        except ServiceError as error:
            if ends_run(error):
                raise
            processed = Processed(row, Failed(error.with_traceback(None)))
        if isinstance(row.picture, BytesImage):  # results that wait for an earlier one would keep its bytes
            processed = replace(processed, row=replace(row, picture=None))
        return each, processed

    async def _processed(self, row: Row) -> Processed:
        if row.error is not None:
            return Processed(row, Failed(row.error))
        if self._job.sink.has(row):
            return Processed(row, Existing())
        picture = await self._picture(row) if self._job.needs_picture else None
        found = await self._job.operator.apply(row, picture, self._ask)
        outcome: Outcome = found if isinstance(found, Dropped) else Kept(found)
        return Processed(row, outcome, picture if self._job.sink.needs_picture else None)

    async def _picture(self, row: Row) -> BytesImage:
        if row.picture is None:
            raise InvalidInput("The row has no picture.", code="missing_picture", param="image")
        return await self._pictures.load(row.picture)


class Writing:
    """The parts of a segment while they are written. `left`: rows that are still to come."""

    def __init__(self, job: Job, todo: Todo) -> None:
        """Raises `OSError` if the parts cannot be created."""
        self.left = todo.count
        self._operator = job.operator
        self._made = job.operator.columns
        self._known = job.columns
        self._todo = todo
        self._retried = frozenset(todo.failed or ())
        self._tally = Tally()
        self._tally.take_back((todo.failed or {}).values())
        self._passing: list[tuple[int, str]] = []
        name = part_name(todo.cut.index, todo.attempt)
        self._rejected = job.rejects.part(name)
        try:
            self._part = job.sink.part(name)
        except BaseException:
            self._rejected.discard()
            raise

    def add(self, processed: Processed) -> Processed:
        """Writes a row where it belongs, counts it, and returns it as it was written."""
        self.left -= 1
        written = self._written(processed)
        self._count(written)
        return written

    def commit(self) -> Segment:
        """Makes the parts durable and returns what to record. Raises `OSError`; what is not durable is discarded."""
        try:
            self._part.commit()
        except BaseException:
            self._rejected.discard()
            raise
        self._rejected.commit()
        todo = self._todo
        rows = 0 if todo.failed is not None else todo.count
        return Segment(todo.cut.index, todo.attempt, rows, self._tally, tuple(self._passing), tuple(todo.failed or ()))

    def discard(self) -> None:
        """Leaves nothing behind."""
        self._part.discard()
        self._rejected.discard()

    def _written(self, processed: Processed) -> Processed:
        row, outcome = processed.row, processed.outcome
        fields = together(row.fields, _fields(outcome), self._made, self._known)
        if isinstance(outcome, Kept):
            try:
                self._part.add(row, processed.picture, fields)
            except InvalidInput as error:
                outcome = Failed(error.with_traceback(None))
        if isinstance(outcome, Dropped | Failed):
            self._rejected.add(row, outcome, fields)
        elif row.number in self._retried:
            self._rejected.passed(row)
        return replace(processed, outcome=outcome)

    def _count(self, written: Processed) -> None:
        row, outcome = written.row, written.outcome
        made, score = _fields(outcome), self._operator.score
        scored = score is not None and isinstance(outcome, Kept | Dropped)
        value = made.get(score, row.fields.get(score)) if scored and score else None
        self._tally.add(written, _number(value), self._operator.labels(made))
        if isinstance(outcome, Failed) and outcome.may_pass:
            self._passing.append((row.number, outcome.error.code))


def together(
    source: Mapping[str, T], operator: Mapping[str, T], made: Collection[str], known: Collection[str]
) -> dict[str, T]:
    """The columns of the source and those of the operator, which are among `made`.

    A column of the source that has the name of such a one gets another: `caption` becomes `source_caption`. `known`:
    all columns that the source has, as far as they are known.
    """
    return {**without(source, made, known), **operator}


def _fields(outcome: Outcome) -> Fields:
    return outcome.fields if isinstance(outcome, Kept | Dropped) else {}


def _rows(todo: Iterator[Todo], source: Source) -> Iterator[tuple[Todo, Row]]:
    return ((each, row) for each in todo for row in each.rows(source))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
