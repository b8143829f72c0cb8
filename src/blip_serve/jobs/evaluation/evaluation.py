"""What every evaluation is: questions of a data set to a model, and figures from the answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from blip_serve.domain import ScoringProtocol, Task
from blip_serve.jobs.evaluation.answering import Answering
from blip_serve.jobs.evaluation.published import Published


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found. `figures`: by their names in the field, in the order to be shown, such as `TR@1` in per cent.

    `counts`: of what, such as pictures. `details`: what else the JSON has, such as the rank of each text.
    """

    figures: Mapping[str, float]
    counts: Mapping[str, int]
    details: Mapping[str, Any] = field(default_factory=dict, repr=False)


class Evaluation(Protocol):
    """An evaluation with its data read. Derive a frozen dataclass from it."""

    name: str
    """Such as `retrieval`."""
    data: str
    """The data set, as a person calls it, such as `coco_karpathy_test.json`."""

    @property
    def needs(self) -> tuple[Task, ...]:
        """What its model must be able to do: one of these."""
        ...

    @property
    def protocol(self) -> ScoringProtocol:
        """The scoring protocol, unless the user names one: that of the published figures."""
        return "paper"

    @property
    def described(self) -> Mapping[str, Any]:
        """All that its answers depend on, but for the model and what the questions' keys say: JSON."""
        ...

    @property
    def published(self) -> Sequence[Published]:
        """Figures that are shown beside those measured."""
        ...

    def notes(self, protocol: ScoringProtocol) -> Sequence[str]:
        """What a reader must know to compare them, a sentence or two each."""
        ...

    async def measure(self, answering: Answering) -> Measured:
        """Asks, and computes the figures. Raises `ServiceError`, and `OSError` where answers cannot be kept."""
        ...
