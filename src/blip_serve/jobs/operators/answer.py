"""The operator `answer`: answers a question about each picture."""

from collections.abc import Mapping
from dataclasses import dataclass

from blip_serve.domain import GenerationOptions, Task
from blip_serve.images.reference import BytesImage
from blip_serve.jobs.operators.inputs import picture_of
from blip_serve.jobs.operators.operator import Ask, Operator
from blip_serve.jobs.operators.seeds import seeded
from blip_serve.jobs.operators.serving import DEFAULT, Serving
from blip_serve.jobs.operators.wording import Wording
from blip_serve.jobs.rows import ColumnType, Fields, Row
from blip_serve.tasks.generate import CARD, AnswerRequest


@dataclass(frozen=True, slots=True)
class AnswerOperator(Operator):
    """Writes `n` answers to one question for all rows, or to each row's own. Column: `answer`; of several `answers`.

    `seed`: the run's. Each row draws with one of its own.
    """

    question: Wording
    options: GenerationOptions = CARD
    n: int = 1
    seed: int = 0
    serving: Serving = DEFAULT

    @property
    def reads(self) -> tuple[str, ...]:
        """The source's columns that it needs."""
        return self.question.reads

    @property
    def asks(self) -> tuple[tuple[tuple[Task, ...], Serving], ...]:
        """One kind of request."""
        return ((AnswerRequest.needs, self.serving),)

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """One."""
        return {"answer": "string"} if self.n == 1 else {"answers": "strings"}

    @property
    def text(self) -> str | None:
        """The answer. None of several."""
        return "answer" if self.n == 1 else None

    async def apply(self, row: Row, picture: BytesImage | None, ask: Ask) -> Fields:
        """The answers. Raises `ServiceError`."""
        options = seeded(self.options, self.seed, row.key)
        request = AnswerRequest(picture_of(picture), self.question.of(row), options, self.n)
        texts = [text.text for text in (await ask(self.serving.of(request))).texts]
        return {"answer": texts[0]} if self.n == 1 else {"answers": texts}
