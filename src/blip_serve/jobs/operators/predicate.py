"""The operator `predicate`: the probability that a statement is true of each picture, or that an answer is yes."""

from collections.abc import Mapping
from dataclasses import dataclass

from blip_serve.domain import Task
from blip_serve.images.reference import BytesImage
from blip_serve.jobs.operators.inputs import picture_of
from blip_serve.jobs.operators.operator import Ask, Operator
from blip_serve.jobs.operators.serving import DEFAULT, Serving
from blip_serve.jobs.operators.wording import Wording
from blip_serve.jobs.rows import ColumnType, Fields, Row
from blip_serve.tasks.decide import DecideRequest
from blip_serve.tasks.questions import PredicateAnswer, PredicateQuestion


@dataclass(frozen=True, slots=True)
class PredicateOperator(Operator):
    """P(yes) of a statement, the same for all rows or each row's own. Column: `probability`, 0..1.

    A model that matches captions reads a statement, one that answers questions a question.
    """

    statement: Wording
    serving: Serving = DEFAULT

    @property
    def reads(self) -> tuple[str, ...]:
        """The source's columns that it needs."""
        return self.statement.reads

    @property
    def asks(self) -> tuple[tuple[tuple[Task, ...], Serving], ...]:
        """One kind of request."""
        return ((DecideRequest.needs, self.serving),)

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """One."""
        return {"probability": "number"}

    @property
    def score(self) -> str | None:
        """The probability."""
        return "probability"

    async def apply(self, row: Row, picture: BytesImage | None, ask: Ask) -> Fields:
        """The probability. Raises `ServiceError`."""
        statement = self.statement.of(row)
        question = PredicateQuestion(statement.param, statement)
        result = await ask(self.serving.of(DecideRequest(picture_of(picture), (question,))))
        [answer] = result.answers
        assert isinstance(answer, PredicateAnswer)
        return {"probability": answer.probability}
