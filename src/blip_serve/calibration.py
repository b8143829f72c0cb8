"""A model's calibration: what makes a probability that holds of its match logits, and at which scores precision was
tested. One file for each checkpoint, protocol and number type, made by `blip-serve calibrate`."""

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from blip_serve import __version__
from blip_serve.domain import ScoringProtocol
from blip_serve.durable import write_file
from blip_serve.errors import ConfigurationError

MAX_BYTES = 256 * 1024
"""Size of a calibration's file. A larger one is none of ours."""


def logistic(x: float) -> float:
    """1 / (1 + exp(-x)), for any finite `x`."""
    return 1 / (1 + math.exp(min(-x, 700.0)))  # e**710 overflows


@dataclass(frozen=True, slots=True)
class Identity:
    """What decides a model's scores: the digest of its checkpoint (`models/digests.py`), and its number type."""

    digest: str
    dtype: str


class Part(BaseModel):
    """A part of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Rate(Part):
    """A share, and its 95% interval."""

    estimate: float = Field(ge=0, le=1)
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)


class Threshold(Part):
    """What keeping the pairs of at least an ITM probability would give, on pairs that were not fitted on.

    `kept`: how many of these. `precision`: the share of true pairs among the kept, where `prior` of all are true.
    `recall`: the share of the true pairs that are kept.
    """

    itm_score: float = Field(ge=0, le=1)
    kept: int = Field(ge=0)
    precision: Rate
    recall: Rate


class Sample(Part):
    """How many labelled pairs there were, and of how many pictures."""

    true: int = Field(ge=0)
    false: int = Field(ge=0)
    pictures: int = Field(ge=0)


class Error(Part):
    """The expected calibration error of the pairs that were not fitted on, before and after (0..1)."""

    raw: float = Field(ge=0, le=1)
    calibrated: float = Field(ge=0, le=1)


class Calibration(Part):
    """A calibration: `logistic(difference / temperature + bias)` of the logits' difference, match - no match (Platt,
    1999: "Probabilistic outputs for support vector machines").

    It holds where `prior` of the pairs are true. `digest` and `dtype`: as in `Identity`. `made`: Unix seconds. `best`:
    the score of the threshold that was best on the pairs that were fitted on.
    """

    kind: Literal["blip-serve calibration"] = "blip-serve calibration"
    model: str = Field(min_length=1)
    digest: str = Field(min_length=1)
    protocol: ScoringProtocol
    dtype: str = Field(min_length=1)
    temperature: float = Field(gt=0)
    bias: float
    prior: float = Field(gt=0, lt=1)
    fitted: Sample
    tested: Sample
    ece: Error
    thresholds: tuple[Threshold, ...] = Field(min_length=1, max_length=1000)
    best: float = Field(ge=0, le=1)
    made: int = Field(default_factory=lambda: int(time.time()))
    version: str = __version__

    @model_validator(mode="after")
    def _thresholds_rise(self) -> "Calibration":
        scores = [each.itm_score for each in self.thresholds]
        if scores != sorted(set(scores)):
            raise ValueError("thresholds must rise")
        if self.best not in scores:
            raise ValueError("the best threshold must be among them")
        return self

    def apply(self, logits: tuple[float, float]) -> float:
        """The probability, 0..1, that a pair of these logits `(no match, match)` is true."""
        no_match, match = logits
        return logistic((match - no_match) / self.temperature + self.bias)

    def threshold_for(self, precision: float) -> Threshold | None:
        """The lowest threshold that is sure to reach a precision, if there is one.

        From the best one downwards each must reach it at the lower end of its interval; the first that does not ends
        the search. So the order in which they are tested knows nothing of the pairs that they are tested on, and in at
        most 1 of 40 calibrations the threshold misses the precision, however many there are (Maurer, Hothorn and
        Lehmacher, 1995: tests in an order fixed before; simulated in `tests/jobs/calibrating`).
        """
        found = None
        for each in reversed(self.thresholds):
            if each.itm_score <= self.best:
                if each.precision.low < precision:
                    break
                found = each
        return found

    @property
    def best_threshold(self) -> Threshold:
        """The one of `best`."""
        return next(each for each in self.thresholds if each.itm_score == self.best)

    def check(self, file: Path, found: Identity) -> None:
        """Raises `ConfigurationError` naming `file` and what differs, if it was made for another than `found`."""
        pairs = (("checkpoint", self.digest, found.digest), ("number type", self.dtype, found.dtype))
        if differences := [f"{name} {made}, and here it is {here}" for name, made, here in pairs if made != here]:
            raise ConfigurationError(
                f"{file}: this calibration was made for the {'; for the '.join(differences)}. Make another by "
                "`blip-serve calibrate`"
            )

    def write(self, file: Path) -> None:
        """Writes it durably. Raises `OSError`."""
        write_file(file, self.model_dump_json(indent=2).encode() + b"\n")


def read_calibration(file: Path) -> Calibration:
    """The calibration in a file. Raises `ConfigurationError` naming the file and what is wrong with it."""
    try:
        if file.exists() and not file.is_file():
            raise ConfigurationError(f"{file}: not a regular file")  # reading a FIFO may wait forever
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ConfigurationError(f"{file}: not a calibration: larger than {MAX_BYTES} bytes")
        return Calibration.model_validate_json(content)
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(map(str, fault["loc"]))
        raise ConfigurationError(f"{file}: not a calibration: {f'{place}: ' if place else ''}{fault['msg']}") from None


def by_protocol(files: Iterable[Path], found: Identity) -> Mapping[ScoringProtocol, Calibration]:
    """The calibrations of one model, a file for each protocol.

    Raises `ConfigurationError` as `read_calibration` and `Calibration.check`, and for two files of one protocol.
    """
    calibrations: dict[ScoringProtocol, Calibration] = {}
    for file in files:
        calibration = read_calibration(file.expanduser())
        calibration.check(file, found)
        if calibration.protocol in calibrations:
            raise ConfigurationError(f"{file}: another calibration is for the protocol {calibration.protocol} too")
        calibrations[calibration.protocol] = calibration
    return calibrations
