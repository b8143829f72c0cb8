"""What `calibrate` shows at its end: the reliability diagram and precision by threshold, in the terminal."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from blip_serve.calibration import Calibration, Rate, Threshold
from blip_serve.cli.tables import table_of, words
from blip_serve.findings import Figure
from blip_serve.jobs.calibrating.calibrate import Calibrated
from blip_serve.jobs.calibrating.reliability import BINS, Bin

BAR = 18
"""Characters that stand for 0..1 in the diagram."""
SHOWN = 12
"""Thresholds shown, at most. All of them are in the file."""


def print_calibrated(found: Calibrated, file: Path, precision: float) -> None:
    """Diagram, table and figures on standard output, in 80 columns."""
    calibration = found.calibration
    console = Console()
    console.print(_diagram(found))
    console.print("#: how often it is true; |: the mean probability, where # should end.", highlight=False)
    console.print(_thresholds(calibration))
    for name, figure in told(calibration).items():
        console.print(Text(f"{name}: {figure}"))
    console.print(Text(_at(calibration, precision)))
    console.print(words(f"Written to {file}. Name it in the model's settings: calibration: [{file}]"))


def told(calibration: Calibration) -> Mapping[str, Figure]:
    """The figures of a calibration, as a person reads them."""
    fitted, tested = calibration.fitted, calibration.tested
    return {
        "ECE raw": round(calibration.ece.raw, 4),
        "ECE calibrated": round(calibration.ece.calibrated, 4),
        "true pairs assumed": f"{calibration.prior:.1%}",
        "protocol": calibration.protocol,
        "temperature": round(calibration.temperature, 4),
        "bias": round(calibration.bias, 4),
        "fitted on": f"{fitted.true + fitted.false:,} pairs of {fitted.pictures:,} pictures",
        "tested on": f"{tested.true + tested.false:,} pairs of {tested.pictures:,} others",
    }


def _diagram(found: Calibrated) -> Table:
    table = table_of(f"{found.calibration.model}: reliability on pairs not fitted on")
    table.add_column("probability", no_wrap=True)
    for name in ("raw", "calibrated"):
        table.add_column("pairs", justify="right", no_wrap=True)
        table.add_column(name, no_wrap=True, min_width=BAR)
    for number in range(BINS):
        row = [f"{number / BINS:.2f}-{(number + 1) / BINS:.2f}"]
        for bins in (found.raw, found.calibrated):
            row += _cells(bins, number)
        table.add_row(*row)
    return table


def _cells(bins: Sequence[Bin], number: int) -> list[str]:
    """The number of pairs in a bin, and its bar."""
    inside = [each for each in bins if round(each.low * BINS) == number]
    if not inside:
        return ["", ""]
    [found] = inside
    filled = "#" * round(found.observed * BAR)
    place = min(BAR - 1, int(found.predicted * BAR))
    bar = [mark for mark, _ in zip_longest(filled, range(BAR), fillvalue=" ")]
    bar[place] = "|"
    return [f"{found.pairs:,}", "".join(bar)]


def _thresholds(calibration: Calibration) -> Table:
    table = table_of("Keeping pairs of at least an ITM probability (95% intervals)")
    table.add_column("at least", justify="right", no_wrap=True)
    table.add_column("kept", justify="right", no_wrap=True)
    for name in ("precision", "recall"):
        table.add_column(name, no_wrap=True)
    for each in _some(calibration.thresholds):
        table.add_row(f"{each.itm_score:.6f}", f"{each.kept:,}", _rate(each.precision), _rate(each.recall))
    return table


def _some(thresholds: Sequence[Threshold]) -> list[Threshold]:
    """At most `SHOWN`, evenly, the first and the last among them."""
    last = len(thresholds) - 1
    places = dict.fromkeys(round(i * last / (SHOWN - 1)) for i in range(SHOWN))
    return [thresholds[place] for place in places]


def _rate(rate: Rate) -> str:
    return f"{rate.estimate:.3f} ({rate.low:.3f} to {rate.high:.3f})"


def _at(calibration: Calibration, precision: float) -> str:
    """The threshold for a precision, in words."""
    found = calibration.threshold_for(precision)
    if found is None:
        best = calibration.best_threshold
        return f"No threshold is sure to reach a precision of {precision:g}; the best is {best.itm_score:.6g}."
    return (
        f"For a precision of at least {precision:g} keep ITM probabilities of at least {found.itm_score:.6g}: recall "
        f"{found.recall.estimate:.3f}."
    )
