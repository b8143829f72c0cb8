"""The operator that scores labelled pairs, and the pairs that it wrote."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blip_serve.domain import Task
from blip_serve.errors import ConfigurationError, InternalError, InvalidInput
from blip_serve.images.reference import BytesImage
from blip_serve.jobs.operators.inputs import picture_of, text_of
from blip_serve.jobs.operators.operator import Ask, Operator
from blip_serve.jobs.operators.serving import DEFAULT, Serving
from blip_serve.jobs.rows import ColumnType, Fields, Row
from blip_serve.tasks.match import MatchRequest

LABELS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
"""Labels as texts, in any case. Booleans are labels too, and the numbers 1 and 0."""
MOST = 5_000_000
"""Pairs that are read. More would make no interval that is worth the memory."""
TRUE, LOGITS, PICTURE = "true_pair", "itm_logits", "picture_digest"


@dataclass(frozen=True, slots=True)
class LabelledOperator(Operator):
    """Scores the picture with the text of `caption`, and reads whether they are a true pair in `label`.

    Columns: `true_pair`; `itm_logits`, [no match, match]; `picture_digest`, the same for equal files. `digest` and
    `dtype` are of the model: a run goes on only with the same.
    """

    caption: str
    label: str
    digest: str
    dtype: str
    serving: Serving = DEFAULT

    @property
    def reads(self) -> tuple[str, ...]:
        """The source's columns that it needs."""
        return (self.caption, self.label)

    @property
    def asks(self) -> tuple[tuple[tuple[Task, ...], Serving], ...]:
        """One kind of request."""
        return ((MatchRequest.needs, self.serving),)

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """The label, the logits and the picture's digest."""
        return {TRUE: "boolean", LOGITS: "numbers", PICTURE: "string"}

    async def apply(self, row: Row, picture: BytesImage | None, ask: Ask) -> Fields:
        """The columns. Raises `ServiceError`; before the picture is scored, if the label is none."""
        label, text, image = label_of(row, self.label), text_of(row, self.caption), picture_of(picture)
        result = await ask(self.serving.of(MatchRequest((image,), (text,), scores=frozenset({"itm"}))))
        logits = result.pairs[0].score.itm_logits
        if logits is None:
            raise InternalError("The model gave no logits for this picture and text.")
        return {TRUE: label, LOGITS: list(logits), PICTURE: sha256(image.data).hexdigest()}


def label_of(row: Row, column: str) -> bool:
    """The label in a column. Raises `InvalidInput` if it is missing or none."""
    value = row.fields.get(column)
    label = _label(value)
    if label is None:
        known = ", ".join(LABELS)
        fault = "has no label" if value is None else f"holds {str(value)[:40]!r}"
        raise InvalidInput(
            f"The column '{column}' {fault} here; labels are {known}.", code="invalid_label", param=column
        )
    return label


def _label(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return {1.0: True, 0.0: False}.get(value)
    return LABELS.get(value.strip().lower()) if isinstance(value, str) else None


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """N labelled pairs. `differences` (N,): of the logits, match - no match. `true` (N,). `pictures` (N,): a number
    for each picture."""

    differences: NDArray[np.float64]
    true: NDArray[np.bool_]
    pictures: NDArray[np.int64]

    def of(self, chosen: NDArray[np.bool_]) -> "Pairs":
        """Those of a mask (N,)."""
        return Pairs(self.differences[chosen], self.true[chosen], self.pictures[chosen])

    @property
    def balance(self) -> float:
        """The share of true pairs."""
        return float(self.true.mean()) if len(self.true) else 0.0

    @property
    def scores(self) -> NDArray[np.float64]:
        """(N,) ITM probabilities."""
        return logistic_of(self.differences)

    def weights(self, prior: float) -> NDArray[np.float64]:
        """(N,) weights under which `prior` of the pairs are true. They sum up to N."""
        return np.where(self.true, prior / self.balance, (1 - prior) / (1 - self.balance))


def logistic_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """`calibration.logistic` of each, so that a score equals the one that is answered."""
    found: NDArray[np.float64] = 1 / (1 + np.exp(np.minimum(-values, 700.0)))
    return found


def read_pairs(file: Path) -> tuple[Pairs, list[str]]:
    """The pairs in the JSON lines that a run wrote, and the digests of their pictures by number.

    Raises `OSError`, and `ConfigurationError` for more than `MOST`.
    """
    differences: list[float] = []
    true: list[bool] = []
    numbers: dict[str, int] = {}
    pictures: list[int] = []
    with file.open("rb") as lines:
        for line in lines:
            pair = json.loads(line)
            no_match, match = pair[LOGITS]
            differences.append(match - no_match)
            true.append(pair[TRUE])
            pictures.append(numbers.setdefault(pair[PICTURE], len(numbers)))
            if len(true) > MOST:
                raise ConfigurationError(f"{file}: more than {MOST:,} pairs; calibrate on fewer")
    return Pairs(np.array(differences, float), np.array(true, bool), np.array(pictures, int)), list(numbers)
