"""Whether maps are faithful: graying a map's hottest cells lowers the match more than graying cells by lot does.

Of `demo-retrieval` with its default map of the whole caption, on drawn pictures of one thing.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.machine import describe
from bench.markdown import table
from blip_serve.in_process import BlipServe, local_settings
from demo.captions import Speaker
from demo.drawing import Artist, draw
from demo.pointing import Map, wilson
from demo.world import World

MODEL = "blip-serve/demo-retrieval"
ASKED = 0.9
CELLS, DRAWS, GREY = 4, 8, 128
"""Cells that are grayed, how often they are drawn by lot, and their value of 255."""
PICTURES = 500
RESULTS = Path(__file__).with_name("results")
PACKAGES = ("torch", "pillow", "numpy")


@dataclass(frozen=True, slots=True)
class Falls:
    """How much less a picture matches its caption with cells gray: the hottest, and some by lot, each time."""

    hottest: float
    by_lot: Sequence[float]

    @property
    def more(self) -> bool:
        """Whether the hottest cells matter more than those by lot do in the mean."""
        return self.hottest > fmean(self.by_lot)


@dataclass(frozen=True, slots=True)
class Picture:
    """What came of one picture: by the match logit, and by the probability."""

    logit: Falls
    probability: Falls


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of this measurement."""
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--to", type=Path, default=RESULTS, help="the folder of faithful.md and faithful.jsonl")


def run(options: argparse.Namespace) -> bool:
    """Prints and writes a table; whether the hottest cells matter more in as many pictures as asked."""
    found = list(_measured(options.pictures))
    page = "\n".join(lines(found))
    options.to.mkdir(parents=True, exist_ok=True)
    row = {"machine": describe("cpu", PACKAGES), "pictures": len(found)} | shares(found)
    (options.to / "faithful.jsonl").write_text(json.dumps(row) + "\n")
    (options.to / "faithful.md").write_text(page + "\n")
    print(page)
    return min(shares(found).values()) >= ASKED


def shares(found: Sequence[Picture]) -> dict[str, float]:
    """The share of the pictures in which the hottest cells matter more."""
    return {name: fmean(getattr(each, name).more for each in found) for name in ("logit", "probability")}


def lines(found: Sequence[Picture]) -> Iterator[str]:
    """A table in Markdown."""
    yield f"# Graying {CELLS} cells, {len(found)} pictures of one thing"
    yield ""
    yield f"How much the match falls where the {CELLS} hottest cells of the caption's map are gray, and where {CELLS}"
    yield f"cells by lot are, the mean of {DRAWS} draws a picture."
    yield ""
    heads = ["", "hottest cells, mean fall", "by lot, mean fall", "pictures where the hottest cells matter more"]
    rows = []
    for name, share in shares(found).items():
        falls: list[Falls] = [getattr(each, name) for each in found]
        low, high = wilson(round(share * len(found)), len(found))
        hottest, by_lot = fmean(fall.hottest for fall in falls), fmean(fmean(fall.by_lot) for fall in falls)
        rows.append([f"match {name}", f"{hottest:.3f}", f"{by_lot:.3f}", f"{share:.1%} ({low:.1%} to {high:.1%})"])
    yield from table(heads, rows, "lrrr")


def hottest(grid: Map) -> list[int]:
    """The cells of a map with the largest numbers, counted row by row."""
    flat = np.asarray(grid).ravel()
    return [int(cell) for cell in np.argsort(-flat, kind="stable")[:CELLS]]


def greyed(pixels: NDArray[np.uint8], cells: Sequence[int], grid: int) -> Image.Image:
    """A square picture with some cells of its `grid` by `grid` gray."""
    changed, side = pixels.copy(), len(pixels) // grid
    for cell in cells:
        row, column = divmod(cell, grid)
        changed[row * side : (row + 1) * side, column * side : (column + 1) * side] = GREY
    return Image.fromarray(changed)


def _measured(pictures: int) -> Iterator[Picture]:
    with BlipServe(local_settings().model_copy(update={"dtype": "float32"})) as service:
        for index in range(pictures):
            rng = Random(f"faithful/{index}")
            scene = World(rng).scene(one=True)
            caption = Speaker(rng).full(scene).text
            yield _picture(service, draw(Artist(rng).layout(scene), rng), caption, rng)


def _picture(service: BlipServe, pixels: NDArray[np.uint8], caption: str, rng: Random) -> Picture:
    [explained] = service.explain(Image.fromarray(pixels), caption, per="caption", model=MODEL).explanations
    [whole] = explained.explanation.words
    grid = len(whole.map)
    lots = [rng.sample(range(grid * grid), CELLS) for _ in range(DRAWS)]
    changed = [greyed(pixels, cells, grid) for cells in (hottest(whole.map), *lots)]
    found = service.match([Image.fromarray(pixels), *changed], caption, scores=["itm"], model=MODEL)
    logits, probabilities = [], []
    for pair in found.pairs:
        assert pair.score.itm_logits is not None
        assert pair.score.itm_score is not None
        logits.append(pair.score.itm_logits[1])
        probabilities.append(pair.score.itm_score)
    return Picture(_falls(logits), _falls(probabilities))


def _falls(scores: Sequence[float]) -> Falls:
    """Of the whole picture's score, that with the hottest cells gray, and those with cells by lot."""
    whole, hot, *lots = scores
    return Falls(whole - hot, [whole - lot for lot in lots])
