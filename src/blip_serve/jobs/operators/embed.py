"""The operator `embed`: turns each picture, or the text of a column, into a unit vector."""

from collections.abc import Mapping
from dataclasses import dataclass

from blip_serve.domain import Task
from blip_serve.images.reference import BytesImage
from blip_serve.jobs.operators.inputs import picture_of, text_of
from blip_serve.jobs.operators.operator import Ask, Operator
from blip_serve.jobs.operators.serving import DEFAULT, Serving
from blip_serve.jobs.rows import ColumnType, Fields, Row
from blip_serve.tasks.embed import EmbedRequest


@dataclass(frozen=True, slots=True)
class EmbedOperator(Operator):
    """Embeds the picture, or the text in `column`. Column: `embedding`. Dot products of embeddings are cosines."""

    column: str | None = None
    serving: Serving = DEFAULT

    @property
    def reads(self) -> tuple[str, ...]:
        """The source's columns that it needs."""
        return () if self.column is None else (self.column,)

    @property
    def needs_picture(self) -> bool:
        """Unless it embeds a text."""
        return self.column is None

    @property
    def asks(self) -> tuple[tuple[tuple[Task, ...], Serving], ...]:
        """One kind of request."""
        return ((EmbedRequest.needs, self.serving),)

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """One."""
        return {"embedding": "vector"}

    async def apply(self, row: Row, picture: BytesImage | None, ask: Ask) -> Fields:
        """The vector. Raises `ServiceError`."""
        source = picture_of(picture) if self.column is None else text_of(row, self.column)
        [vector] = (await ask(self.serving.of(EmbedRequest((source,))))).vectors
        return {"embedding": list(vector)}
