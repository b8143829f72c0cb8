"""Batches: pictures drawn, and texts about them of which a part may be given. Knows no model."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from torch import Tensor

from demo.captions import OPENINGS, OTHER_WORDS, plain_captions
from demo.drawing import Artist
from demo.pixels import drawn
from demo.sequences import Text
from demo.world import Scene, World

PROMPTS = (*OPENINGS, ("a", "photo", "of"))
BEGINNINGS = 3  # for each picture, beside the plain caption
_VARIANT_SHARES = (0.7, 0.15, 0.15)


@dataclass(frozen=True)
class Batch:
    """B pictures, with the plain caption and `BEGINNINGS` begun ones of each."""

    pixels: Tensor  # (B, 3, H, W), normalised
    texts: list[Text]  # those of a picture one after another


class Batches:
    """Draws the batch of a training step; the same seed and step give the same batch."""

    def __init__(self, seed: int, size: int) -> None:
        self.seed = seed
        self.size = size

    def __call__(self, step: int) -> Batch:
        rng = Random(f"captioning/{self.seed}/{step}")
        world, artist = World(rng), Artist(rng)
        scenes = [world.lesson() for _ in range(self.size)]
        pixels = drawn([artist.layout(scene) for scene in scenes], rng)
        return Batch(pixels, [text for scene in scenes for text in _texts(scene, rng)])


def _texts(scene: Scene, rng: Random) -> list[Text]:
    return [Text(plain_captions(scene)[0]), *(begun(scene, rng) for _ in range(BEGINNINGS))]


def begun(scene: Scene, rng: Random) -> Text:
    """A beginning by lot, and what follows it; what begins like the plain caption goes on like it."""
    opening = rng.choice(PROMPTS) if rng.random() < 0.5 else ()
    orders = plain_captions(scene)
    words = rng.choices(variants(rng.choice(orders)), _VARIANT_SHARES)[0]
    given = rng.randint(0, len(words))
    if words[:given] == orders[0][:given]:
        words = orders[0]
    return Text((*opening, *words), len(opening) + given)


def variants(words: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """A plain caption; with another word for the first size; without it."""
    article, size, *rest = words
    unsized = "an" if article == "a" and rest[0][0] in "aeiou" else article
    return words, (article, OTHER_WORDS[size], *rest), (unsized, *rest)
