"""Draws the figures of an evaluation beside those published, as a PNG."""

from pathlib import Path

import matplotlib as mpl

from blip_serve.cli.charts import BLUE, STYLE, write_png
from blip_serve.jobs.evaluation.report import Report

mpl.use("Agg")
from matplotlib import pyplot as plt

MARKS = ("o", "s", "D", "^", "v")
WIDTH, ROW, MARGIN = 9.0, 0.45, 1.4
"""Inches: of the chart, of the row of a figure, and above and below all rows."""
SPREAD = 0.16
"""Rows between the marks of two sources, which would else hide each other."""


def draw(report: Report, file: Path) -> None:
    """A bar for each figure, and a mark for each published one. Raises `OSError`."""
    figures = report.measured.figures
    names = list(figures)
    with plt.rc_context({**STYLE, "font.size": 12}):
        plot, axes = plt.subplots(figsize=(WIDTH, MARGIN + ROW * len(names)), layout="constrained")
        axes.barh(range(len(names)), list(figures.values()), color=BLUE, height=0.6, label=report.subject.model)
        for place, value in enumerate(figures.values()):
            axes.annotate(f"{value:.1f}", (0, place), (6, 0), textcoords="offset points", va="center", color="white")
        for number, (mark, each) in enumerate(zip(MARKS, report.published, strict=False)):
            beside = SPREAD * (number - (len(report.published) - 1) / 2)
            known = [(value, names.index(name) + beside) for name, value in each.figures.items() if name in figures]
            if known:
                axes.scatter(
                    *zip(*known, strict=True), marker=mark, color="white", edgecolor="black", label=each.source
                )
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_title(f"{report.name} on {report.data} ({report.subject.protocol})")
        plot.legend(loc="outside lower left", ncols=2)
        write_png(plot, file)
        plt.close(plot)
