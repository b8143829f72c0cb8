"""Pictures with questions about them, each question by its number in the data set."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from blip_serve.errors import ConfigurationError
from blip_serve.jobs.evaluation.gallery import Entry, gallery


@dataclass(frozen=True, slots=True)
class Asked:
    """Pictures, whose texts are questions. `numbers`: those of each picture's questions. `digest`: of all of it."""

    entries: Sequence[Entry]
    numbers: Sequence[Sequence[int]]
    digest: str

    @property
    def questions(self) -> list[int]:
        """The numbers of all questions."""
        return [number for of in self.numbers for number in of]


def asked(pictures: Iterable[tuple[Entry, Sequence[int]]], data: str) -> Asked:
    """The questions of a data set. Raises `ConfigurationError` as `gallery`, and for a number that comes twice."""
    found = list(pictures)
    checked = gallery([entry for entry, _ in found], data)
    numbers = tuple(tuple(of) for _, of in found)
    met: set[int] = set()
    for number in (number for of in numbers for number in of):
        if number in met:
            raise ConfigurationError(f"{data}: it has the question {number} twice")
        met.add(number)
    return Asked(checked.entries, numbers, checked.digest)
