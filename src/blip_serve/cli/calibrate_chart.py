"""Draws the reliability diagram, and precision and recall by threshold, as a PNG."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

from blip_serve.calibration import Calibration
from blip_serve.cli.charts import BLUE, GREEN, GREY, ORANGE, STYLE, write_png
from blip_serve.jobs.calibrating.calibrate import Calibrated
from blip_serve.jobs.calibrating.reliability import Bin

mpl.use("Agg")
from matplotlib import pyplot as plt

SIZE = (11.0, 5.4)
"""Inches."""
TICKS = (1e-4, 0.01, 0.1, 0.5, 0.9, 0.99, 0.9999)
ENDS = 1e-7
"""How near to 0 and 1 a score is drawn: the logit's scale has no ends."""


def draw(found: Calibrated, file: Path) -> None:
    """Two plots side by side. Raises `OSError`."""
    calibration = found.calibration
    with plt.rc_context({**STYLE, "font.size": 11, "axes.titlesize": 11.5}):
        plot, (left, right) = plt.subplots(1, 2, figsize=SIZE, layout="constrained")
        _reliability(left, found)
        _thresholds(right, calibration)
        plot.suptitle(
            f"{calibration.model} ({calibration.protocol}, {calibration.dtype}), where {calibration.prior:.1%} of "
            "pairs are true",
            fontsize=12,
        )
        write_png(plot, file)
        plt.close(plot)


def _reliability(axes: Any, found: Calibrated) -> None:
    """What was observed against what was predicted; a dot's area is the share of the pairs."""
    ece = found.calibration.ece
    axes.plot((0, 1), (0, 1), color=GREY, linestyle="--", linewidth=1, label="as predicted")
    _dots(axes, found.raw, ORANGE, "o", f"raw, ECE {ece.raw:.3f}")
    _dots(axes, found.calibrated, BLUE, "s", f"calibrated, ECE {ece.calibrated:.3f}")
    axes.set(xlabel="predicted probability of a match", ylabel="share of true pairs", aspect="equal")
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), title="Reliability on pairs not fitted on")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3, columnspacing=1.2)


def _dots(axes: Any, bins: Sequence[Bin], colour: str, mark: str, label: str) -> None:
    predicted, observed = [each.predicted for each in bins], [each.observed for each in bins]
    axes.plot(predicted, observed, color=colour, linewidth=1.4, marker=mark, markersize=4, label=label)
    areas = [25 + 1200 * each.share for each in bins]
    axes.scatter(predicted, observed, s=areas, color=colour, marker=mark, alpha=0.3, linewidths=0)


def _thresholds(axes: Any, calibration: Calibration) -> None:
    """Precision and recall by ITM probability, with bands of 95%. On the logit's scale: scores crowd at the ends."""
    scores = [min(max(each.itm_score, ENDS), 1 - ENDS) for each in calibration.thresholds]
    for name, colour in (("precision", GREEN), ("recall", ORANGE)):
        rates = [getattr(each, name) for each in calibration.thresholds]
        axes.plot(scores, [rate.estimate for rate in rates], color=colour, linewidth=1.8, label=name)
        axes.fill_between(
            scores, [rate.low for rate in rates], [rate.high for rate in rates], color=colour, alpha=0.2, linewidth=0
        )
    axes.set_xscale("logit")
    axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS], fontsize=9)
    axes.set_xticks((), minor=True)
    axes.set_xlim(scores[0], scores[-1])
    axes.set(xlabel="keep pairs of at least this ITM probability", ylim=(-0.03, 1.03))
    axes.set_title("Precision and recall by threshold, with 95% intervals")
    axes.legend(loc="lower left")
