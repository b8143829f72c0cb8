"""Batches: pictures drawn, captions true and false, everything as tensors. Knows no model."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from demo.captions import Caption, Speaker, TruthTable, is_true
from demo.drawing import Artist, Layout, coverage
from demo.padding import NO_LABEL, padded
from demo.pixels import drawn
from demo.vocabulary import CAPTIONS
from demo.world import COLOURS, SHAPES, SIZES, UNSEEN_PAIRS, Scene, World

TRUE_CAPTIONS = 2
FALSE_CAPTIONS = 3
_RULE_SHARES = {"colour": 0.2, "size": 0.17, "shape": 0.25, "swap": 0.28, "count": 0.05, "foreign": 0.05}
_COVERED = 0.3  # the share of a patch that makes it a patch of a thing


@dataclass(frozen=True)
class Words:
    """Captions as tensors, all (N, T) and padded on the right."""

    ids: Tensor
    mask: Tensor
    owners: Tensor  # the mention that a token belongs to, or -1

    @staticmethod
    def of(captions: list[Caption]) -> Words:
        rows = [CAPTIONS.framed(caption.words) for caption in captions]
        return Words(
            ids=padded(rows),
            mask=padded([[1] * len(row) for row in rows]),
            owners=padded([[-1, *caption.owners] for caption in captions], filler=-1, width=max(map(len, rows))),
        )


@dataclass(frozen=True)
class Batch:
    """B pictures, one caption of each for ITC, K of each for ITM."""

    scenes: list[Scene]
    pixels: Tensor  # (B, 3, H, W), normalised
    patches: Tensor  # (B, patches, 3) size, colour, shape of the thing there; NO_LABEL where undecided
    pairs: Tensor  # (B, P) which pairs of attributes are there: see `pair_targets`
    captions: list[Caption]  # B, for ITC
    candidates: list[list[Caption]]  # B lists of TRUE_CAPTIONS + FALSE_CAPTIONS


class Batches:
    """Draws the batch of a training step; the same seed and step give the same batch."""

    def __init__(self, seed: int, size: int, patch: int) -> None:
        self.seed = seed
        self.size = size
        self.patch = patch

    def __call__(self, step: int) -> Batch:
        rng = Random(f"{self.seed}/{step}")
        world, speaker, artist = World(rng), Speaker(rng), Artist(rng)
        scenes = [world.scene() for _ in range(self.size // 2)]
        # beside each scene one that barely differs: the hard negatives of ITC
        scenes += [world.sibling(scene) for scene in scenes]
        layouts = [artist.layout(scene) for scene in scenes]
        pixels = drawn(layouts, rng)
        captions = [
            speaker.full(scene) if rng.random() < 0.5 else speaker.say(speaker.mentions(scene)) for scene in scenes
        ]
        return Batch(
            scenes=scenes,
            pixels=pixels,
            patches=torch.from_numpy(np.stack([_patch_labels(layout, self.patch) for layout in layouts])),
            pairs=torch.from_numpy(np.stack([pair_targets(scene) for scene in scenes])),
            captions=captions,
            candidates=[_candidates(scene, speaker) for scene in scenes],
        )


def _candidates(scene: Scene, speaker: Speaker) -> list[Caption]:
    """Captions for ITM, the true ones first."""
    true = [speaker.say(speaker.mentions(scene)) for _ in range(TRUE_CAPTIONS)]
    return true + [false_caption(scene, speaker) for _ in range(FALSE_CAPTIONS)]


def false_caption(scene: Scene, speaker: Speaker) -> Caption:
    """A caption made false by a rule drawn by lot."""
    rules, shares = list(_RULE_SHARES), list(_RULE_SHARES.values())
    while True:
        rule = speaker.rng.choices(rules, shares)[0]
        changed = speaker.falsified(speaker.mentions(scene), scene, rule)
        if changed:
            return speaker.say(changed)


def _patch_labels(layout: Layout, patch: int) -> NDArray[np.int64]:
    """(patches, 3): number of the size, colour and shape there; the last number of each for bare ground."""
    covers = coverage(layout, patch)
    labels = np.full((covers.shape[1], 3), NO_LABEL, dtype=np.int64)
    labels[covers.max(axis=0) < 0.02] = (len(SIZES), len(COLOURS), len(SHAPES))
    for cover, placed in zip(covers, layout.placed, strict=True):
        thing = placed.thing
        labels[cover > _COVERED] = (SIZES.index(thing.size), COLOURS.index(thing.colour), SHAPES.index(thing.shape))
    return labels


def pair_targets(scene: Scene) -> NDArray[np.float32]:
    """Which (colour, shape), (size, colour) and (size, shape) stand in the scene, as zeros and ones."""
    colour_shape = np.zeros((len(COLOURS), len(SHAPES)), dtype=np.float32)
    size_colour = np.zeros((len(SIZES), len(COLOURS)), dtype=np.float32)
    size_shape = np.zeros((len(SIZES), len(SHAPES)), dtype=np.float32)
    for thing in scene.things:
        size, colour, shape = SIZES.index(thing.size), COLOURS.index(thing.colour), SHAPES.index(thing.shape)
        colour_shape[colour, shape] = size_colour[size, colour] = size_shape[size, shape] = 1.0
    return np.concatenate([colour_shape.ravel(), size_colour.ravel(), size_shape.ravel()])


def pair_weights() -> Tensor:
    """(P,) zero for the pairs that training never shows, so that it does not teach that they cannot be."""
    weights = np.ones((len(COLOURS), len(SHAPES)), dtype=np.float32)
    for colour, shape in UNSEEN_PAIRS:
        weights[COLOURS.index(colour), SHAPES.index(shape)] = 0.0
    rest = np.ones(len(SIZES) * (len(COLOURS) + len(SHAPES)), dtype=np.float32)
    return torch.from_numpy(np.concatenate([weights.ravel(), rest]))


def mention_labels(scenes: list[Scene], candidates: list[list[Caption]], owners: Tensor) -> tuple[Tensor, Tensor]:
    """Truth of (B, K) captions, and of each token's mention: (B*K,) and (B*K, T), NO_LABEL outside mentions."""
    truths = torch.zeros(len(owners), dtype=torch.long)
    tokens = torch.full(owners.shape, NO_LABEL, dtype=torch.long)
    row = 0
    for scene, captions in zip(scenes, candidates, strict=True):
        for caption in captions:
            truths[row] = int(is_true(caption.mentions, scene))
            for index, mention in enumerate(caption.mentions):
                tokens[row][owners[row] == index] = int(any(mention.names(thing) for thing in scene.things))
            row += 1
    return truths, tokens


def truth(scenes: list[Scene], captions: list[Caption]) -> Tensor:
    """(B, C): whether the caption is true of the scene."""
    return torch.from_numpy(TruthTable(scenes)(captions))
