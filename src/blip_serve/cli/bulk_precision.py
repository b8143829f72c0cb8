"""`bulk filter --precision`: finds the threshold by a calibration."""

from dataclasses import dataclass
from pathlib import Path

from blip_serve.calibration import Calibration, Threshold, read_calibration
from blip_serve.cli.bulk_options import BulkOptions
from blip_serve.cli.bulk_report import say
from blip_serve.directory import Directory, Known
from blip_serve.domain import ANYONE, ScoringProtocol
from blip_serve.errors import ConfigurationError
from blip_serve.jobs.operators.filter import FilterOperator
from blip_serve.jobs.operators.serving import Serving
from blip_serve.settings import Settings
from blip_serve.tasks.checkpoints import identity_of
from blip_serve.tasks.match import MatchRequest


@dataclass(frozen=True, slots=True)
class AtPrecision:
    """The wish to keep rows of which a share `precision` is true. A calibration turns it into a `FilterOperator`.

    `by`, `column`, `serving`: as there. `file`: the calibration's, by default the one in the model's settings.
    """

    by: str
    precision: float
    file: Path | None
    column: str | None
    serving: Serving


def filter_at(wanted: AtPrecision, options: BulkOptions, settings: Settings) -> FilterOperator:
    """The filter at the lowest threshold that is sure to have the precision (`Calibration.threshold_for`). Says so.

    Where scores are computed now, the calibration must be of this model, protocol and number type; scores that the
    source has are taken to be. Raises `ConfigurationError`.
    """
    _check(wanted, options)
    known = Directory(settings, Known).choose(wanted.serving.model, MatchRequest.needs, ANYONE).model
    protocol = wanted.serving.protocol or known.settings.protocol
    file, calibration = _find(wanted.file, known, protocol)
    if wanted.column is not None:
        calibration.check(file, identity_of(known.settings.id, settings, say))
    threshold = calibration.threshold_for(wanted.precision)
    if threshold is None:
        raise ConfigurationError(
            f"--precision {wanted.precision:g}: {file} has no threshold that is sure to reach it; the best is "
            f"{_words(calibration.best_threshold, calibration)}"
        )
    say(f"filter keeps {wanted.by} of at least {_words(threshold, calibration)} ({file})")
    return FilterOperator(wanted.by, threshold.itm_score, wanted.column, wanted.serving)


def _check(wanted: AtPrecision, options: BulkOptions) -> None:
    if not 0 < wanted.precision < 1:
        raise ConfigurationError(f"--precision {wanted.precision:g}: it is a share, between 0 and 1.")
    if options.url:
        raise ConfigurationError("--precision: what model a server runs is not known here. Give --at-least.")
    if wanted.column is not None and wanted.by != "itm_score":
        raise ConfigurationError(f"--precision goes by itm_score, not by {wanted.by}.")


def _find(file: Path | None, known: Known, protocol: ScoringProtocol) -> tuple[Path, Calibration]:
    files = known.settings.calibration if file is None else (file,)
    if not files:
        raise ConfigurationError(
            f"--precision needs a calibration: give --calibration, or name one in the settings of {known.settings.id}"
        )
    found = {each: read_calibration(each.expanduser()) for each in files}
    for each, calibration in found.items():
        if calibration.protocol == protocol:
            return each, calibration
    names = ", ".join(map(str, files))
    raise ConfigurationError(f"{names}: no calibration for the protocol {protocol}; give --protocol, or another file")


def _words(threshold: Threshold, calibration: Calibration) -> str:
    rate, recall = threshold.precision, threshold.recall.estimate
    return (
        f"{threshold.itm_score:.6g}: precision {rate.estimate:.3f} ({rate.low:.3f} to {rate.high:.3f}), recall "
        f"{recall:.3f}, where {calibration.prior:.1%} of pairs are true"
    )
