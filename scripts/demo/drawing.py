"""Drawing: a scene becomes pixels. Masks are drawn once, anti-aliased, and pasted with numpy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from demo.world import Scene, Thing

SIDE = 96  # pixels; every length below is in pixels of a 96x96 picture
RADII = {"small": (9.5, 10.0, 10.5, 11.0, 11.5), "large": (16.0, 16.75, 17.5, 18.25, 19.0)}
TURNS = (-15, -10, -5, 0, 5, 10, 15)  # degrees
SUPERSAMPLING = 4
RGB = {
    "red": (215, 35, 35),
    "orange": (245, 140, 20),
    "yellow": (240, 220, 40),
    "green": (40, 150, 60),
    "blue": (40, 80, 215),
    "purple": (125, 45, 165),
    "pink": (250, 145, 190),
    "black": (25, 25, 25),
}
COLOUR_JITTER = 14
GROUND_RANGE = (185, 250)
GROUND_TINT = 12
NOISE_LEVELS = (0.0, 0.0, 4.0, 8.0)  # standard deviation, of 255
_NOISE_BANK = 1 << 20

Pixels = NDArray[np.uint8]  # (H, W, 3)
Mask = NDArray[np.float32]  # (h, w), 0 to 1


@dataclass(frozen=True)
class Placed:
    """A thing with its place: the centre in pixels, the radius, the turn, the very colour."""

    thing: Thing
    x: int
    y: int
    radius: float
    turn: int
    rgb: tuple[int, int, int]


@dataclass(frozen=True)
class Layout:
    """All that drawing needs to know of one picture."""

    placed: tuple[Placed, ...]
    ground: tuple[int, int, int]
    noise: float


def _polygon(corners: list[tuple[float, float]], turn: int, radius: float) -> list[tuple[float, float]]:
    """Corners on a unit disc, turned, scaled and moved so that the disc's centre is (0, 0)."""
    sine, cosine = math.sin(math.radians(turn)), math.cos(math.radians(turn))
    return [(radius * (x * cosine - y * sine), radius * (x * sine + y * cosine)) for x, y in corners]


def _on_circle(count: int, radii: tuple[float, ...]) -> list[tuple[float, float]]:
    angles = [2 * math.pi * step / count - math.pi / 2 for step in range(count)]
    return [(radii[i % len(radii)] * math.cos(a), radii[i % len(radii)] * math.sin(a)) for i, a in enumerate(angles)]


def _corners(shape: str) -> list[tuple[float, float]]:
    if shape == "square":
        return [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)]
    if shape == "triangle":
        return [(x * 1.1, y * 1.1 + 0.2) for x, y in _on_circle(3, (1.0,))]
    if shape == "star":
        return _on_circle(10, (1.1, 0.45))
    arm = 0.33
    quarter = [(-arm, -1.0), (arm, -1.0), (arm, -arm)]
    return [point for turn in (0, 90, 180, 270) for point in _polygon(quarter, turn, 1.0)]


@lru_cache(maxsize=4096)
def mask(shape: str, radius: float, turn: int) -> Mask:
    """The anti-aliased mask of a shape; odd side, its centre on the middle pixel."""
    half = math.ceil(radius * 1.35)
    side = (2 * half + 1) * SUPERSAMPLING
    centre = side / 2
    image = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(image)
    scaled = radius * SUPERSAMPLING
    if shape in ("circle", "ring"):
        draw.ellipse((centre - scaled, centre - scaled, centre + scaled, centre + scaled), fill=255)
        if shape == "ring":
            hole = 0.55 * scaled
            draw.ellipse((centre - hole, centre - hole, centre + hole, centre + hole), fill=0)
    else:
        draw.polygon([(centre + x, centre + y) for x, y in _polygon(_corners(shape), turn, scaled)], fill=255)
    small = image.reduce(SUPERSAMPLING)
    return np.asarray(small, dtype=np.float32) / 255.0


class Artist:
    """Places the things of scenes by lot and draws them."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng

    def picture(self, scene: Scene) -> Image.Image:
        """One of many pictures of a scene."""
        return Image.fromarray(draw(self.layout(scene), self.rng))

    def layout(self, scene: Scene, *, noise: bool = True) -> Layout:
        level = self.rng.choice(NOISE_LEVELS) if noise else 0.0
        base = self.rng.randint(*GROUND_RANGE)
        return Layout(self._places(scene), self._near((base, base, base), GROUND_TINT), level)

    def _places(self, scene: Scene) -> tuple[Placed, ...]:
        """Places where no two things touch; starts over when the last thing finds no room."""
        while True:
            placed: list[Placed] = []
            for thing in scene.things:
                candidate = self._place(thing)
                if any(_touch(candidate, other) for other in placed):
                    break
                placed.append(candidate)
            if len(placed) == len(scene.things):
                return tuple(placed)

    def _place(self, thing: Thing) -> Placed:
        radius = self.rng.choice(RADII[thing.size])
        margin = math.ceil(radius * 1.1) + 1
        x, y = self.rng.randrange(margin, SIDE - margin), self.rng.randrange(margin, SIDE - margin)
        turn = self.rng.choice(TURNS)
        return Placed(thing, x, y, radius, turn, self._near(RGB[thing.colour], COLOUR_JITTER))

    def _near(self, rgb: tuple[int, int, int], spread: int) -> tuple[int, int, int]:
        red, green, blue = (min(max(part + self.rng.randint(-spread, spread), 0), 255) for part in rgb)
        return red, green, blue


def _touch(a: Placed, b: Placed) -> bool:
    return math.hypot(a.x - b.x, a.y - b.y) < 1.05 * (a.radius + b.radius) + 2


@lru_cache(maxsize=1)
def _noise_bank() -> NDArray[np.float32]:
    """Standard normal noise drawn once; pictures take a window of it."""
    return np.random.default_rng(0).standard_normal(_NOISE_BANK, dtype=np.float32)


def draw(layout: Layout, rng: Random, scale: int = 1) -> Pixels:
    """(SIDE*scale, SIDE*scale, 3) pixels of a layout; `rng` only chooses the noise."""
    side = SIDE * scale
    canvas = np.empty((side, side, 3), dtype=np.float32)
    canvas[:] = layout.ground
    if layout.noise:
        start = rng.randrange(_NOISE_BANK - canvas.size)
        canvas += layout.noise * _noise_bank()[start : start + canvas.size].reshape(canvas.shape)
    for placed in layout.placed:
        window, alpha = _window(placed, scale)
        canvas[window] += alpha[:, :, None] * (np.asarray(placed.rgb, dtype=np.float32) - canvas[window])
    pixels: Pixels = np.clip(canvas + 0.5, 0, 255).astype(np.uint8)
    return pixels


def coverage(layout: Layout, patch: int) -> NDArray[np.float32]:
    """(things, patches) share of each square patch that each thing covers."""
    grid = SIDE // patch
    covers = np.zeros((len(layout.placed), SIDE, SIDE), dtype=np.float32)
    for index, placed in enumerate(layout.placed):
        window, alpha = _window(placed, 1)
        covers[index][window] = alpha
    blocks = covers.reshape(-1, grid, patch, grid, patch).mean(axis=(2, 4))
    shares: NDArray[np.float32] = blocks.reshape(len(layout.placed), grid * grid)
    return shares


def _window(placed: Placed, scale: int) -> tuple[tuple[slice, slice], Mask]:
    """Where a thing's mask falls on the canvas, and the part of the mask that falls inside."""
    alpha = mask(placed.thing.shape, placed.radius * scale, placed.turn)
    half = alpha.shape[0] // 2
    side = SIDE * scale
    top, left = placed.y * scale - half, placed.x * scale - half
    rows = slice(max(top, 0), min(top + alpha.shape[0], side))
    columns = slice(max(left, 0), min(left + alpha.shape[1], side))
    inside = alpha[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return (rows, columns), inside
