"""The operator `caption`: writes captions of each picture."""

from collections.abc import Mapping
from dataclasses import dataclass

from blip_serve.domain import Caption, GenerationOptions, Task
from blip_serve.images.reference import BytesImage
from blip_serve.jobs.operators.inputs import picture_of
from blip_serve.jobs.operators.operator import Ask, Operator
from blip_serve.jobs.operators.seeds import seeded
from blip_serve.jobs.operators.serving import DEFAULT, Serving
from blip_serve.jobs.rows import ColumnType, Fields, Row
from blip_serve.tasks.generate import CARD, CaptionRequest


@dataclass(frozen=True, slots=True)
class CaptionOperator(Operator):
    """Writes `n` captions, which start with `beginning`. Column: `caption`; for several `captions`, a list.

    `seed`: the run's. Each row draws with one of its own.
    """

    beginning: str = ""
    options: GenerationOptions = CARD
    n: int = 1
    seed: int = 0
    serving: Serving = DEFAULT

    @property
    def asks(self) -> tuple[tuple[tuple[Task, ...], Serving], ...]:
        """One kind of request."""
        return ((CaptionRequest.needs, self.serving),)

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """One."""
        return {"caption": "string"} if self.n == 1 else {"captions": "strings"}

    @property
    def text(self) -> str | None:
        """The caption. None of several."""
        return "caption" if self.n == 1 else None

    async def apply(self, row: Row, picture: BytesImage | None, ask: Ask) -> Fields:
        """The captions. Raises `ServiceError`."""
        options = seeded(self.options, self.seed, row.key)
        request = CaptionRequest(picture_of(picture), Caption(self.beginning, "--beginning"), options, self.n)
        texts = [text.text for text in (await ask(self.serving.of(request))).texts]
        return {"caption": texts[0]} if self.n == 1 else {"captions": texts}
