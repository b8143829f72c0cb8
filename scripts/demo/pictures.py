"""The pictures that ship beside the checkpoints: drawn larger, so that people see them well, with their captions."""

from __future__ import annotations

from pathlib import Path
from random import Random

import torch
from PIL import Image

from demo.drawing import Artist, draw
from demo.export import write_json
from demo.scoring import PROTOCOLS, Scorer
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


def write_pictures(folder: Path) -> None:
    """The PNG files, and pictures.json with a right and a wrong caption of each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, scene in SCENES.items():
        rng = Random(f"pictures/{name}")
        pixels = draw(Artist(rng).layout(scene, noise=False), rng, _SCALE)
        Image.fromarray(pixels).save(folder / name, optimize=True)
    write_json(
        folder / "pictures.json",
        {name: {"caption": caption, "wrong": wrong} for name, (caption, wrong) in CAPTIONS.items()},
    )


def score_pictures(scorer: Scorer, folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """The ITM probability of each picture's two captions, under both protocols."""
    opened = [Image.open(folder / name).convert("RGB") for name in CAPTIONS]
    images = scorer.images(opened)
    result: dict[str, dict[str, dict[str, float]]] = {name: {} for name in CAPTIONS}
    for protocol in PROTOCOLS:
        right = torch.sigmoid(scorer.log_odds(images, [caption for caption, _ in CAPTIONS.values()], protocol))
        wrong = torch.sigmoid(scorer.log_odds(images, [false for _, false in CAPTIONS.values()], protocol))
        for name, high, low in zip(CAPTIONS, right.tolist(), wrong.tolist(), strict=True):
            result[name][protocol] = {"caption": round(high, 4), "wrong": round(low, 4)}
    return result
