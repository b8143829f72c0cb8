"""Hard pairs of a drawn picture and a text of the web, of which is known whether it is true. Knows no model.

How hard they are was fixed before the first measurement, by the constants below.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from random import Random
from typing import Literal

import numpy as np
from PIL import Image, ImageFilter

from demo.captions import Caption, Mention, Speaker, is_true
from demo.drawing import Artist
from demo.world import Scene, World

UNSEEN = 0.4
"""The share of pictures with a combination of colour and shape that training held out; half of the others are lessons,
in which two things are often nearly the same."""
BLURS = (0.0, 0.0, 1.0, 1.5, 2.0)
"""Radii of a Gaussian blur, in pixels of 96; a small thing has a radius of 10. Training had none."""
NOISES = (0.0, 0.0, 10.0, 20.0)
"""Standard deviations, of 255, of noise over all. Training had at most 8, and only behind the things."""
RULES = ("colour", "size", "shape", "swap")
"""The ways in which a text is wrong in one attribute; `swap`: two things have each other's."""
Kind = Literal["right", "wrong", "unrelated"]
KINDS: tuple[Kind, ...] = ("right", "wrong", "unrelated")
SHARES = (8 / 12, 3 / 12, 1 / 12)
"""Of the kinds of web texts: a third is false, three in four of these by a single attribute."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A picture as a PNG file, what it shows, and its web text."""

    key: str
    scene: Scene
    picture: bytes
    kind: Kind
    text: str


def hard_pairs(count: int, seed: int = 0) -> Iterator[Pair]:
    """The same pairs for the same seed; the first of many are those of few."""
    for index in range(count):
        rng = Random(f"bulk/{seed}/{index}")
        scene = _scene(World(rng), rng)
        [kind] = rng.choices(KINDS, SHARES)
        text = _caption(scene, kind, rng).text
        yield Pair(f"pair-{index:06d}", scene, _picture(scene, rng), kind, text)


def _scene(world: World, rng: Random) -> Scene:
    if rng.random() < UNSEEN:
        return world.scene(unseen=True)
    return world.lesson() if rng.random() < 0.5 else world.scene()


def _caption(scene: Scene, kind: Kind, rng: Random) -> Caption:
    speaker = Speaker(rng)
    mentions = speaker.mentions(scene)
    if kind == "wrong":
        mentions = _wrong(speaker, scene, mentions)
    if kind == "unrelated":
        mentions = _unrelated(speaker, scene)
    return speaker.say(mentions)


def _wrong(speaker: Speaker, scene: Scene, mentions: tuple[Mention, ...]) -> tuple[Mention, ...]:
    """Mentions that are false by one attribute: by a rule by lot, or another where that does not apply."""
    for rule in (*speaker.rng.sample(RULES, len(RULES)), "shape"):
        if found := speaker.falsified(mentions, scene, rule, unseen=True):
            return found
    raise ValueError(f"no attribute of {mentions} makes it false of {scene}")


def _unrelated(speaker: Speaker, scene: Scene) -> tuple[Mention, ...]:
    """True mentions of another scene, which are false of this one."""
    while True:
        mentions = speaker.mentions(_scene(speaker.world, speaker.rng))
        if not is_true(mentions, scene):
            return mentions


def _picture(scene: Scene, rng: Random) -> bytes:
    """Drawn, blurred, and then noisy, as a camera's pictures are."""
    picture = Artist(rng).picture(scene).filter(ImageFilter.GaussianBlur(rng.choice(BLURS)))
    if level := rng.choice(NOISES):
        noise = np.random.default_rng(rng.getrandbits(32)).normal(0, level, (picture.height, picture.width, 3))
        picture = Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))
    file = BytesIO()
    picture.save(file, "png")
    return file.getvalue()
