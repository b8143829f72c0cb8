"""One span for each segment of a bulk run, with the requests of its rows below it. Knows no exporter."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from blip_serve.jobs.manifest import Segment
from blip_serve.jobs.plan import Todo

if TYPE_CHECKING:
    from blip_serve.tracing import Traced, Tracing


class SegmentSpans:
    """The spans of the segments that are under way: two or three, however many rows there are. Event loop only."""

    def __init__(self, tracing: "Tracing") -> None:
        self._tracing = tracing
        self._open: dict[tuple[int, int], Traced] = {}

    def of(self, todo: Todo) -> "Traced":
        """The span of a segment, which starts with its first row, below what runs here."""
        key = (todo.cut.index, todo.attempt)
        if key not in self._open:
            self._open[key] = traced = self._tracing.begin("segment")
            traced.note({"blip_serve.cut": todo.cut.index, "blip_serve.attempt": todo.attempt})
        return self._open[key]

    def under(self, todo: Todo) -> AbstractContextManager[None]:
        """What starts inside is below the segment's span."""
        return self.of(todo).here()

    def written(self, segment: Segment) -> None:
        """A segment is durable: its span ends."""
        traced = self._open.pop((segment.cut, segment.attempt))
        traced.note({"blip_serve.rows": segment.tally.rows, "blip_serve.failed": segment.tally.failed.total()})
        traced.end()

    def close(self) -> None:
        """Ends the spans of segments that were not written: the run was stopped."""
        for traced in self._open.values():
            traced.end()
        self._open.clear()
