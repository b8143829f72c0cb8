"""Charts of the results, each as PNG and SVG, to be read at a README's width."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl

from bench.measure import Row
from bench.ratios import Ratio, ratios
from bench.targets import Target

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter

WIDTH = 9.0
"""Inches; 1350 pixels."""
BLUE, ORANGE, GREEN, PURPLE, SKY, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#666666"
"""Of Okabe and Ito's palette, which the colour-blind tell apart."""
MAX_TICKS = 6
COLOURS = {"a": ORANGE, "a16": "#E69F00", "a+": PURPLE, "b": GREEN, "c": SKY, "o": "#8C564B"}
STYLE = {
    "font.size": 12,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.titlesize": 12.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "lines.linewidth": 2.2,
    "lines.markersize": 6,
    "legend.frameon": False,
    "svg.hashsalt": "bench",
}
Curve = tuple[str, str, str]
"""A label, a colour, and a line's style."""


def draw(rows: Sequence[Row], stem: Path, targets: Sequence[Target]) -> list[Path]:
    """Writes the charts that `rows` have figures for, as `STEM-NAME.png` and `.svg`; the PNG files."""
    kinds: dict[str, Callable[[Sequence[Row]], bool]] = {
        "ratios": partial(_ratios, targets=targets),
        "growth": _growth,
        "load": _load,
        "continuous": _continuous,
    }
    drawn = []
    with plt.rc_context(STYLE):
        for name, chart in kinds.items():
            if chart(rows):
                files = [stem.with_name(f"{stem.name}-{name}.{kind}") for kind in ("png", "svg")]
                plt.savefig(files[0], dpi=150)
                plt.savefig(files[1], metadata={"Date": None})
                drawn.append(files[0])
            plt.close("all")
    return drawn


def _ratios(rows: Sequence[Row], targets: Sequence[Target]) -> bool:
    """A bar a side of every row at base size, and a mark where the target is."""
    found = [each for each in ratios(rows) if each.row.side in COLOURS and each.row.model.startswith("base")]
    if not found:
        return False
    _, axes = plt.subplots(figsize=(WIDTH, 1.2 + 0.36 * len(found)), layout="constrained")
    for place, each in enumerate(found):
        axes.barh(place, each.times, color=COLOURS[each.row.side], height=0.72)
        asked = _asked(each, targets)
        if asked:
            axes.plot([asked, asked], [place - 0.45, place + 0.45], color="black", linewidth=2.4, zorder=3)
        end = (max(each.times, asked or 0), place)
        axes.annotate(f"{each.times:.3g}x", end, (4, 0), textcoords="offset points", va="center", fontsize=11)
    axes.axvline(1, color=GREY, linewidth=1)
    axes.set_yticks(range(len(found)), [_label(each) for each in found])
    axes.set_xscale("log")
    axes.set_xlim(min(0.8, *(each.times for each in found)), 1.5 * max(each.times for each in found))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
    axes.grid(axis="y", visible=False)
    axes.invert_yaxis()
    axes.set_title("Times faster than each side (base size; black: the target)")
    return True


def _label(ratio: Ratio) -> str:
    number_type = ratio.row.model.partition(" ")[2]
    place = "" if ratio.row.x is None else f", at {ratio.row.x:g}"
    return f"{ratio.row.name}{place}   ({ratio.row.side}) {number_type}"


def _asked(ratio: Ratio, targets: Sequence[Target]) -> float | None:
    wanted = (ratio.row.group, f"{ratio.row.name}: times faster than ({ratio.row.side}) {ratio.row.model.split()[1]}")
    return next((target.bound for target in targets if (target.group, target.says) == wanted), None)


def _growth(rows: Sequence[Row]) -> bool:
    """Costs by size of request and by clients."""
    rows = [row for row in rows if row.group == "growth"]
    if not rows:
        return False
    _, (captions, images, clients) = plt.subplots(1, 3, figsize=(WIDTH, 3.6), layout="constrained")
    _plot(captions, rows, "a caption of a known image", ("", BLUE, "-"))
    _log(captions, "One known image", "captions in the request", "ms a caption")
    _plot(images, rows, "a new image with a caption", ("", BLUE, "-"))
    _log(images, "New images", "images in the request", "ms an image")
    _plot(clients, rows, "clients: pairs a second", ("pairs/s", BLUE, "-"))
    _plot(clients, rows, "clients: latency", ("latency, ms", ORANGE, "--"))
    _log(clients, "Clients waiting (demo)", "clients", "")
    clients.set_yscale("log")
    clients.minorticks_off()
    clients.yaxis.set_major_formatter(FuncFormatter(_plain))
    clients.legend()
    for axes in (captions, images):
        _from_zero(axes)
    return True


def _load(rows: Sequence[Row]) -> bool:
    """Latency by rate offered, with the limit."""
    rows = [row for row in rows if row.group == "load"]
    names = [name for name in ("known images", "new images") if any(row.name.startswith(name) for row in rows)]
    if not names:
        return False
    _, panels = plt.subplots(1, len(names), figsize=(WIDTH, 3.7), layout="constrained", sharey=True, squeeze=False)
    for axes, name in zip(panels[0], names, strict=True):
        _plot(axes, rows, f"{name}: p99", ("p99", ORANGE, "--"))
        _plot(axes, rows, f"{name}: p50", ("median", BLUE, "-"))
        axes.axhline(1000, color=GREY, linewidth=1.2, linestyle=":")
        best = next((row.median for row in rows if row.name == f"{name}: highest rate"), 0.0)
        if best:
            axes.axvline(best, color=GREEN, linewidth=1.6, label=f"holds {best:.3g} pairs/s")
        axes.set_yscale("log")
        axes.set_xlim(left=0)
        axes.yaxis.set_major_formatter(FuncFormatter(_plain))
        axes.set_title(f"{name.capitalize()}, one caption")
        axes.set_xlabel("pairs a second, arriving by chance")
        axes.legend()
    panels[0][0].set_ylabel("latency, ms")
    return True


def _continuous(rows: Sequence[Row]) -> bool:
    """The two ways of batching, by rate of arrival."""
    rows = [row for row in rows if row.group == "continuous"]
    if not rows:
        return False
    _, panels = plt.subplots(1, 3, figsize=(WIDTH, 3.6), layout="constrained")
    for axes, name in zip(panels, ("first token", "whole caption", "throughput"), strict=True):
        for side, curve in {"d": ("continuous", BLUE, "-"), "static": ("static", ORANGE, "--")}.items():
            _plot(axes, [row for row in rows if row.side == side], name, curve)
        unit = next(row.unit for row in rows if row.name == name)
        axes.set_title(f"{name.capitalize()}, {unit}")
        axes.set_xlabel("captions a second")
        _from_zero(axes)
    panels[0].legend()
    return True


def _from_zero(axes: Any) -> None:
    """With room above for the whole of the highest point."""
    axes.set_ylim(0, 1.05 * axes.get_ylim()[1])


def _plot(axes: Any, rows: Sequence[Row], name: str, curve: Curve) -> None:
    """The medians of a name by place, with their quartiles as a band."""
    label, colour, style = curve
    found = sorted((row for row in rows if row.name == name), key=lambda row: row.x or 0.0)
    places = [row.x for row in found]
    axes.plot(places, [row.median for row in found], style, color=colour, marker="o", label=label)
    axes.fill_between(places, [row.low for row in found], [row.high for row in found], color=colour, alpha=0.15, lw=0)


def _log(axes: Any, title: str, x: str, y: str) -> None:
    """Labels what was plotted, along a logarithmic axis with ticks where figures are."""
    places = sorted({float(place) for line in axes.lines for place in line.get_xdata()})
    every = -(-len(places) // MAX_TICKS)
    axes.set_xscale("log")
    axes.set_xticks(places[::every], [f"{place:g}" for place in places[::every]])
    axes.minorticks_off()
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _plain(value: float, _: int) -> str:
    return f"{value:,.10g}"
