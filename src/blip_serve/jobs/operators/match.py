"""The operator `match`: scores each picture with the texts of a column."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from blip_serve.domain import ScoreName, Task
from blip_serve.errors import ConfigurationError, InternalError, InvalidInput
from blip_serve.images.reference import BytesImage
from blip_serve.jobs.operators.inputs import holds_list, picture_of, texts_of
from blip_serve.jobs.operators.operator import Ask, Operator
from blip_serve.jobs.operators.serving import DEFAULT, Serving
from blip_serve.jobs.rows import ColumnType, Fields, Row
from blip_serve.tasks.match import MatchPair, MatchRequest, MatchResult

Score = Literal["itm", "cosine", "calibrated"]
SCORES: Mapping[str, Score] = {"itm_score": "itm", "cosine_score": "cosine", "calibrated_score": "calibrated"}
"""The columns of scores, each with the score's name."""


@dataclass(frozen=True, slots=True)
class MatchOperator(Operator):
    """Scores the picture with the text, or the list of texts, in `column`. Columns: those of `SCORES` asked for.

    `lists`: whether the column holds lists; a score is then a list, too. `None`: as each row has it. `itm_score` is a
    probability, 0..1; `cosine_score` is -1..1. `calibrated_score`, 0..1, needs a model with a calibration.
    """

    column: str
    scores: tuple[Score, ...] = ("itm", "cosine")
    lists: bool | None = False
    serving: Serving = DEFAULT

    def __post_init__(self) -> None:
        """Raises `ConfigurationError` for scores that there are not."""
        if not self.scores or set(self.scores) - set(SCORES.values()):
            raise ConfigurationError(f"The scores are {', '.join(SCORES.values())}; give at least one.")

    @property
    def reads(self) -> tuple[str, ...]:
        """The source's columns that it needs."""
        return (self.column,)

    @property
    def asks(self) -> tuple[tuple[tuple[Task, ...], Serving], ...]:
        """One kind of request."""
        return ((MatchRequest.needs, self.serving),)

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """One for each score."""
        kind: ColumnType = "json" if self.lists is None else "numbers" if self.lists else "number"
        return dict.fromkeys(self._names, kind)

    @property
    def score(self) -> str | None:
        """The first score. None of lists."""
        return None if self.lists else self._names[0]

    def fitted(self, columns: Mapping[str, ColumnType]) -> "MatchOperator":
        """Knows from the column's type whether it holds lists."""
        lists = {"string": False, "strings": True}.get(columns.get(self.column, ""))
        return self if self.lists is not None else replace(self, lists=lists)

    async def apply(self, row: Row, picture: BytesImage | None, ask: Ask) -> Fields:
        """The scores. Raises `ServiceError`."""
        texts = texts_of(row, self.column)
        lists = holds_list(row, self.column) if self.lists is None else self.lists
        if holds_list(row, self.column) and not lists:
            raise InvalidInput(
                f"The column '{self.column}' holds a list; a text is expected.", code="invalid_type", param=self.column
            )
        asked: set[ScoreName] = {"itm" if name == "calibrated" else name for name in self.scores}
        request = MatchRequest((picture_of(picture),), texts, scores=frozenset(asked))
        result = await ask(self.serving.of(request))
        found = {name: scores_of(result, name) for name in self._names}
        return found if lists else {name: values[0] for name, values in found.items()}

    @property
    def _names(self) -> list[str]:
        return [column for column, name in SCORES.items() if name in self.scores]


def scores_of(result: MatchResult, column: str) -> list[float]:
    """The scores of all pairs. Raises `ServiceError` for a pair without one: no number stands for it.

    Raises `ConfigurationError` for a calibrated score of a model that has no calibration.
    """
    return [_score(pair, column) for pair in result.pairs]


def _score(pair: MatchPair, column: str) -> float:
    score: float | None = getattr(pair.score, column)
    if score is None and pair.error is None and column == "calibrated_score":
        raise ConfigurationError(
            "calibrated_score: the model has no calibration for this protocol. Make one by `blip-serve calibrate`, and "
            "name it in the model's settings"
        )
    if score is None:
        raise pair.error or InternalError(f"The model gave no {column} for this picture and text.")
    return score
