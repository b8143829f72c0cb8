"""What every operator is: a step from a row to new columns, by requests to the tasks."""

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

from blip_serve.domain import Task
from blip_serve.images.reference import BytesImage
from blip_serve.jobs.operators.serving import Serving
from blip_serve.jobs.rows import ColumnType, Dropped, Fields, Row
from blip_serve.tasks.request import Request

ResultT = TypeVar("ResultT")


class Ask(Protocol):
    """Runs a request of any task, here or on a server, and returns its result."""

    async def __call__(self, request: Request[ResultT], /) -> ResultT: ...


class Operator(Protocol):
    """Derive a frozen dataclass from it, whose fields are the options; override what is not as here.

    It is picklable and holds no state, so many rows are processed at once.
    """

    @property
    def reads(self) -> tuple[str, ...]:
        """The source's columns that it needs."""
        return ()

    @property
    def needs_picture(self) -> bool:
        """Whether `apply` must be given the row's picture."""
        return True

    @property
    def asks(self) -> tuple[tuple[tuple[Task, ...], Serving], ...]:
        """For each kind of request that it makes: what its model must be able to do (one of these), and which it is."""
        return ()

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """The columns that it makes."""
        return {}

    @property
    def text(self) -> str | None:
        """The column whose text a sidecar file holds, if there is one."""
        return None

    @property
    def score(self) -> str | None:
        """The column of numbers that the summary shows, if there is one: histogram, best and worst rows."""
        return None

    def fitted(self, columns: Mapping[str, ColumnType]) -> "Operator":
        """The operator for a source with these columns, whose types may decide those of its own."""
        return self

    def labels(self, made: Fields) -> Iterable[str]:
        """What the summary counts of a row beside its outcome, from the columns that the operator made."""
        return ()

    async def apply(self, row: Row, picture: BytesImage | None, ask: Ask) -> Fields | Dropped:
        """The row's new columns, or why it is dropped. Raises `ServiceError` for a row that cannot be processed."""
        ...
