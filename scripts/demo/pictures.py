"""The pictures that ship beside the checkpoints: drawn larger, so that people see them well, with their captions."""

from __future__ import annotations

from pathlib import Path
from random import Random

from PIL import Image

from demo.drawing import Artist, draw
from demo.files import write_json
from demo.world import Scene, Thing

_SCALE = 4  # 384 pixels a side; the model sees them at 96
SCENES = {
    "red-circle.png": Scene((Thing("large", "red", "circle"),)),
    "pink-star.png": Scene((Thing("small", "pink", "star"),)),
    "blue-square-green-star.png": Scene((Thing("large", "blue", "square"), Thing("small", "green", "star"))),
    "yellow-triangle-purple-ring.png": Scene((Thing("large", "yellow", "triangle"), Thing("large", "purple", "ring"))),
    "orange-cross-black-circle.png": Scene((Thing("small", "orange", "cross"), Thing("large", "black", "circle"))),
    "two-purple-squares.png": Scene((Thing("small", "purple", "square"), Thing("small", "purple", "square"))),
}
CAPTIONS = {
    "red-circle.png": ("a large red circle", "a large blue circle"),
    "pink-star.png": ("a small pink star", "a small green star"),
    "blue-square-green-star.png": (
        "a large blue square and a small green star",
        "a large green square and a small blue star",
    ),
    "yellow-triangle-purple-ring.png": (
        "a large yellow triangle and a large purple ring",
        "a large purple triangle and a large yellow ring",
    ),
    "orange-cross-black-circle.png": (
        "a small orange cross and a large black circle",
        "a small black cross and a large orange circle",
    ),
    "two-purple-squares.png": ("two small purple squares", "two small orange squares"),
}


def shipped() -> dict[str, Image.Image]:
    """The pictures by file name."""
    pictures = {}
    for name, scene in SCENES.items():
        rng = Random(f"pictures/{name}")
        pictures[name] = Image.fromarray(draw(Artist(rng).layout(scene, noise=False), rng, _SCALE))
    return pictures


def write_pictures(folder: Path) -> None:
    """The PNG files, and pictures.json with a right and a wrong caption of each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in shipped().items():
        picture.save(folder / name, optimize=True)
    write_json(
        folder / "pictures.json",
        {name: {"caption": caption, "wrong": wrong} for name, (caption, wrong) in CAPTIONS.items()},
    )
