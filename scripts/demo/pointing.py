"""The pointing game: whether the strongest place of a word's map lies on the thing that the word names.

Knows no model. The pictures show two things that differ in size, colour and shape, so that a word names one of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from random import Random

import numpy as np
from PIL import Image

from demo.drawing import SIDE, Artist, Layout, Placed, draw, mask
from demo.world import ATTRIBUTES, Scene, World

REACH = 1.1
"""A thing's box reaches so many radii from its centre, as far as the corners of a shape do."""
_95_PERCENT = 1.959964  # standard normal deviations

Map = Sequence[Sequence[float]]  # rows of a grid over the picture


@dataclass(frozen=True)
class Told:
    """A text about a picture whose words have maps. `question`: what it answers."""

    words: tuple[str, ...]
    question: str | None = None

    @property
    def text(self) -> str:
        return " ".join(self.words)


@dataclass(frozen=True)
class Box:
    """Part of a picture, in pixels of `SIDE`; right and bottom not included."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def share(self) -> float:
        """Of the picture: the chance of a point by lot."""
        return (self.right - self.left) * (self.bottom - self.top) / SIDE**2

    def holds(self, x: float, y: float) -> bool:
        return self.left <= x < self.right and self.top <= y < self.bottom


@dataclass(frozen=True)
class Named:
    """The thing that a word names: `box` by its radius, `drawn` around its very pixels. `kind`: of the word."""

    kind: str
    box: Box
    drawn: Box


@dataclass(frozen=True)
class Round:
    """A picture as a PNG file, what is told of it, and what the words name that name one thing."""

    picture: bytes
    told: tuple[Told, ...]
    named: Mapping[str, Named]


@dataclass(frozen=True)
class Hits:
    """How many words of a kind have their strongest place in the box. `drawn`: around the very pixels.

    `chance`: the boxes' mean share of the picture.
    """

    words: int
    hits: int
    drawn: int
    chance: float

    @property
    def share(self) -> float:
        return self.hits / self.words

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.hits, self.words)


def rounds(count: int, tell: Callable[[Scene, Random], tuple[Told, ...]]) -> Iterator[Round]:
    """The same pictures each time, none of them drawn for training; the first of many are those of few."""
    for index in range(count):
        rng = Random(f"pointing/{index}")
        scene = _different(World(rng))
        layout = Artist(rng).layout(scene)
        file = BytesIO()
        Image.fromarray(draw(layout, rng)).save(file, "png")
        yield Round(file.getvalue(), tell(scene, rng), _named(layout))


def strongest(grid: Map) -> tuple[float, float] | None:
    """The place (x, y) of a map's maximum in pixels: the middle of its cell. None if nothing is above 0."""
    values = np.asarray(grid)
    if values.max() <= 0:
        return None
    row, column = np.unravel_index(values.argmax(), values.shape)
    rows, columns = values.shape
    return (float(column) + 0.5) * SIDE / columns, (float(row) + 0.5) * SIDE / rows


class Tally:
    """Counts hits by the kind of word."""

    def __init__(self) -> None:
        self._found: dict[str, list[tuple[bool, bool, float]]] = {kind: [] for kind in ATTRIBUTES}

    def count(self, maps: Sequence[tuple[str, Map]], named: Mapping[str, Named]) -> None:
        """Of the words of a text, those that name a thing."""
        for word, grid in maps:
            if (thing := named.get(word)) is not None:
                place = strongest(grid)
                inside = [place is not None and box.holds(*place) for box in (thing.box, thing.drawn)]
                self._found[thing.kind].append((inside[0], inside[1], thing.box.share))

    def hits(self) -> dict[str, Hits]:
        """By kind."""
        return {
            kind: Hits(len(found), sum(hit for hit, _, _ in found), sum(hit for _, hit, _ in found), _mean(found))
            for kind, found in self._found.items()
        }


def wilson(hits: int, words: int) -> tuple[float, float]:
    """The 95% interval of a share, after Wilson (1927)."""
    share, square = hits / words, _95_PERCENT**2
    middle = share + square / (2 * words)
    half = _95_PERCENT * math.sqrt(share * (1 - share) / words + square / (4 * words**2))
    return (middle - half) / (1 + square / words), (middle + half) / (1 + square / words)


def _mean(found: Sequence[tuple[bool, bool, float]]) -> float:
    return sum(share for _, _, share in found) / len(found)


def _different(world: World) -> Scene:
    """Two things that have nothing in common."""
    while True:
        scene = world.scene(one=False)
        first, second = scene.things
        if all(first.value(name) != second.value(name) for name in ATTRIBUTES):
            return scene


def _named(layout: Layout) -> dict[str, Named]:
    return {
        placed.thing.value(kind): Named(kind, _box(placed), _drawn(placed))
        for placed in layout.placed
        for kind in ATTRIBUTES
    }


def _box(placed: Placed) -> Box:
    x, y, reach = placed.x + 0.5, placed.y + 0.5, REACH * placed.radius  # the middle of the middle pixel
    return Box(x - reach, y - reach, x + reach, y + reach)


def _drawn(placed: Placed) -> Box:
    """Around the pixels that the thing covers by half or more."""
    covered = mask(placed.thing.shape, placed.radius, placed.turn) >= 0.5
    rows, columns = (np.flatnonzero(covered.any(axis=axis)) for axis in (1, 0))
    half = len(covered) // 2
    left, top = placed.x - half, placed.y - half
    return Box(left + int(columns[0]), top + int(rows[0]), left + int(columns[-1]) + 1, top + int(rows[-1]) + 1)
