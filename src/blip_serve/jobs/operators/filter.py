"""The operator `filter`: keeps the rows with at least a score."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from blip_serve.domain import Task
from blip_serve.errors import ConfigurationError
from blip_serve.images.reference import BytesImage
from blip_serve.jobs.operators.inputs import number_of
from blip_serve.jobs.operators.match import SCORES, MatchOperator
from blip_serve.jobs.operators.operator import Ask, Operator
from blip_serve.jobs.operators.serving import DEFAULT, Serving
from blip_serve.jobs.rows import ColumnType, Dropped, Fields, Row


@dataclass(frozen=True, slots=True)
class FilterOperator(Operator):
    """Keeps a row whose score `by` is `at_least` so much.

    `by`: a column of the source; with `column`, one of `SCORES` of the picture and the text in it, which becomes a
    column. Raises `ConfigurationError` for another score.
    """

    by: str
    at_least: float
    column: str | None = None
    serving: Serving = DEFAULT

    def __post_init__(self) -> None:
        """Checks the score."""
        if self.column is not None and self.by not in SCORES:
            raise ConfigurationError(f"'{self.by}' is no score of a match; it is {' or '.join(SCORES)}.")

    @property
    def reads(self) -> tuple[str, ...]:
        """The source's columns that it needs."""
        return (self.by,) if self.column is None else (self.column,)

    @property
    def needs_picture(self) -> bool:
        """To score it with a text."""
        return self.column is not None

    @property
    def asks(self) -> tuple[tuple[tuple[Task, ...], Serving], ...]:
        """A match, unless the source has the score."""
        return () if self._match is None else self._match.asks

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """The score, unless the source has it."""
        return {} if self._match is None else self._match.columns

    @property
    def score(self) -> str | None:
        """The one it goes by."""
        return self.by

    async def apply(self, row: Row, picture: BytesImage | None, ask: Ask) -> Fields | Dropped:
        """The score, or why the row is dropped. Raises `ServiceError`."""
        fields = {} if self._match is None else await self._match.apply(row, picture, ask)
        scored = replace(row, fields={**row.fields, **fields})
        if number_of(scored, self.by) >= self.at_least:
            return fields
        return Dropped(f"{self.by} below {self.at_least:g}", fields)

    @property
    def _match(self) -> MatchOperator | None:
        """What computes the score, if the source does not have it."""
        return None if self.column is None else MatchOperator(self.column, (SCORES[self.by],), serving=self.serving)
