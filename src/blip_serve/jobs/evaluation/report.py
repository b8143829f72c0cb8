"""An evaluation with all that a reader of its figures must know, as JSON and as a finding."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from blip_serve import __version__
from blip_serve.findings import Figure, Finding
from blip_serve.jobs.evaluation.evaluation import Measured
from blip_serve.jobs.evaluation.published import Published

NAMED = 64
"""Characters of the data's name in that of a finding."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What was evaluated. `digest`, `dtype` and `machine`: unknown of a server's model."""

    model: str
    protocol: str | None
    digest: str | None = None
    dtype: str | None = None
    machine: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What was found, of which model, beside what was published. `name`: of the evaluation; `data`: of its data."""

    name: str
    data: str
    subject: Subject
    measured: Measured
    published: Sequence[Published]
    notes: Sequence[str]

    def to_json(self) -> dict[str, object]:
        """All of it."""
        measured = self.measured
        return {
            "evaluation": self.name,
            "data": self.data,
            **asdict(self.subject),
            "version": __version__,
            "figures": dict(measured.figures),
            "counts": dict(measured.counts),
            "published": [{"source": each.source, "figures": dict(each.figures)} for each in self.published],
            "notes": list(self.notes),
            **measured.details,
        }

    def finding(self) -> Finding | None:
        """What is kept of it. `None` for a server's model: its checkpoint is not known."""
        subject = self.subject
        if subject.digest is None or subject.dtype is None or subject.machine is None:
            return None
        figures: dict[str, Figure] = {name: round(value, 2) for name, value in self.measured.figures.items()}
        return Finding(
            kind="evaluation",
            name=f"{self.name} on {self.data[:NAMED]}, {subject.protocol}",
            model=subject.model,
            digest=subject.digest,
            dtype=subject.dtype,
            machine=subject.machine,
            figures={"data": self.data, "protocol": subject.protocol, **figures, **self.measured.counts},
        )
