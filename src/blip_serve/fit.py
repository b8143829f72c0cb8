"""Whether a model fits on this machine, and how fast it should be there: as `models --fit` and a model's page say it.

Computes nothing of it: `models/` does.
"""

from collections.abc import Sequence
from typing import Self

from pydantic import BaseModel, Field, ValidationError

from blip_serve.findings import Figure, Finding
from blip_serve.memory import Footprint

NAME = "memory and speed"
"""The name of such findings."""
REST, STEP, HELD, FITS, SPEED = "bytes at rest", "bytes in a full step", "bytes at most", "fits", "pairs a second"
"""Their figures."""


class Fit(BaseModel):
    """A model in one number type. Speed is an estimate from a short measurement."""

    dtype: str
    rest_bytes: int = Field(description="its weights, with the copies that are kept of them")
    step_bytes: int = Field(description="the same in a full step (`engine.max_step_cost`)")
    held_bytes: int = Field(description="what it counts for in the budget: weights, generation slots and image caches")
    fits: bool | None = Field(description="whether that fits beside the preloaded models; null where not asked")
    pairs_per_second: float | None = Field(
        description="new images with one caption a second, estimated from a measurement; null where not measured"
    )

    @classmethod
    def of(cls, footprint: Footprint, fits: bool | None = None, pairs: float | None = None) -> Self:
        """A footprint as one."""
        weights = footprint.weights
        return cls(
            dtype=footprint.dtype,
            rest_bytes=weights,
            step_bytes=weights + footprint.step,
            held_bytes=footprint.held,
            fits=fits,
            pairs_per_second=pairs,
        )

    @property
    def figures(self) -> dict[str, Figure]:
        """As the figures of a finding."""
        return {
            REST: self.rest_bytes,
            STEP: self.step_bytes,
            HELD: self.held_bytes,
            FITS: self.fits,
            SPEED: self.pairs_per_second,
        }


def fits_of(findings: Sequence[Finding], footprint: Footprint | None) -> list[Fit]:
    """What findings say of a model, a number type each, and where they say nothing, its footprint."""
    fits = {finding.dtype: fit for finding in findings if (fit := _read(finding))}
    if footprint is not None and footprint.dtype:
        fits.setdefault(footprint.dtype, Fit.of(footprint))
    return [fits[dtype] for dtype in sorted(fits)]


def _read(finding: Finding) -> Fit | None:
    if (finding.kind, finding.name) != ("fit", NAME):
        return None
    figures = finding.figures
    values = {
        "rest_bytes": figures.get(REST),
        "step_bytes": figures.get(STEP),
        "held_bytes": figures.get(HELD),
        "fits": figures.get(FITS),
        "pairs_per_second": figures.get(SPEED),
    }
    try:
        return Fit.model_validate({"dtype": finding.dtype, **values})
    except ValidationError:
        return None
