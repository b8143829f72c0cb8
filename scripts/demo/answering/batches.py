"""Batches: pictures drawn, and questions about them. Knows no model."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from torch import Tensor

from demo.answering.questions import KINDS, WORDS, Asker, Question
from demo.drawing import Artist
from demo.pixels import drawn
from demo.vocabulary import CAPTIONS
from demo.world import World

QUESTIONS = CAPTIONS.extended(WORDS)


@dataclass(frozen=True)
class Batch:
    """B pictures, with a question of each kind about each."""

    pixels: Tensor  # (B, 3, H, W), normalised
    questions: list[Question]  # those about a picture one after another


class Batches:
    """Draws the batch of a training step; the same seed and step give the same batch."""

    def __init__(self, seed: int, size: int) -> None:
        self.seed = seed
        self.size = size

    def __call__(self, step: int) -> Batch:
        rng = Random(f"answering/{self.seed}/{step}")
        world, artist, asker = World(rng), Artist(rng), Asker(rng)
        scenes = [world.lesson() for _ in range(self.size)]
        pixels = drawn([artist.layout(scene) for scene in scenes], rng)
        return Batch(pixels, [asker.ask(scene, kind) or asker.count(scene) for scene in scenes for kind in KINDS])
