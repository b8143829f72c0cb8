"""Texts of mixed length as batches of like length. Knows no network."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from blip_serve.domain import IMAGE_COST

MAX_TEXTS_COST = IMAGE_COST
"""The most that a work made of texts costs, the projection of its image included.

A step of background works is bounded by the cost of one image; and so works of several requests fit into one step.
"""
MAX_SPREAD = 2
"""In a batch the longest row is at most this many times the shortest, so that less than half of it is padding."""
SHORT = 8
"""Rows of up to this many tokens share a batch, however much they differ."""
FEW = 16
"""Batches of up to this many rows are padded to a `common_length`.

For texts of all lengths, in steps of 1 to 16 images, that takes 0.9 of the time. For 64 captions of an image it would
take 1.15.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One caption's ids, and which of the step's images it is read against."""

    ids: tuple[int, ...]
    image: int = 0


class RowIndices(NamedTuple):
    """Which rows of a tensor: `first` up to `last`, or if they are not adjacent, the (I,) `scattered` ones.

    Adjacent rows are read without a copy. This is a named tuple since TorchScript takes no dataclasses.
    """

    first: int
    last: int
    scattered: Tensor | None


class ImageGroup(NamedTuple):
    """Some images of a step that have `captions` rows of a batch each.

    `images`: which of the step's images; of a `wide` group, which of the kept ones and those that are projected.
    """

    images: RowIndices
    captions: int
    wide: bool


@dataclass(frozen=True, slots=True)
class TextBatch:
    """(B, T) ids. `mask` (B, T) is true at tokens, `None` if no row is padded. `groups` have the rows in order."""

    ids: Tensor
    mask: Tensor | None
    groups: list[ImageGroup]


@dataclass(frozen=True, slots=True)
class BatchedRows:
    """Batches of all rows. `order`: for each row of the batches, its index among the rows that were given.

    `wide`: the images of the step that are projected: those with more tokens of text than `folded` allows, but for
    the kept ones.
    """

    batches: Sequence[TextBatch]
    order: Sequence[int]
    wide: RowIndices | None


def batch_rows(
    rows: Sequence[Row], positions: int, folded: int, upload: Callable[[Tensor], Tensor], kept: Sequence[int] = ()
) -> BatchedRows:
    """Rows as batches, none longer than `positions`, those of the tower.

    `folded`: see `Kernels.folded`. `upload` brings a tensor to the device. `kept`: the images whose keys and
    values are there.
    """
    wide = [image for image in crowded(rows, folded) if image not in kept]
    number = {image: i for i, image in enumerate([*kept, *wide])}
    batches, order = [], []
    for bucket in buckets([len(row.ids) for row in rows]):
        owned: dict[int, list[int]] = {}
        for i in bucket:
            owned.setdefault(rows[i].image, []).append(i)
        by_count = sorted(owned.items(), key=lambda image: (len(image[1]), image[0] in number, image[0]))
        indices = [i for _, own in by_count for i in own]
        groups = [
            ImageGroup(row_indices([number.get(image, image) for image, _ in run], upload), captions, is_wide)
            for (captions, is_wide), run in groupby(by_count, key=lambda image: (len(image[1]), image[0] in number))
        ]
        length = 0
        if len(bucket) <= FEW:
            length = min(common_length(len(rows[bucket[-1]].ids)), positions)
        ids, mask = padded([rows[i].ids for i in indices], length)
        batches.append(TextBatch(upload(ids), None if mask is None else upload(mask), groups))
        order += indices
    return BatchedRows(batches, order, row_indices(wide, upload) if wide else None)


def crowded(rows: Sequence[Row], folded: int) -> list[int]:
    """The images that more than `folded` tokens of text attend to, in order."""
    tokens = Counter[int]()
    for row in rows:
        tokens[row.image] += len(row.ids)
    return sorted(image for image, count in tokens.items() if count > folded)


def buckets(lengths: Sequence[int]) -> list[list[int]]:
    """Groups of indices into `lengths`, each of texts of like length, the shortest first."""
    found: list[list[int]] = []
    limit = 0
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if lengths[i] > limit:
            found.append([])
            limit = max(SHORT, MAX_SPREAD * lengths[i])
        found[-1].append(i)
    return found


def cut(lengths: Sequence[int], costs: Sequence[int], limit: int) -> list[list[int]]:
    """Pieces of indices of all texts, sorted by length. A piece costs at most `limit`, unless it is a single text."""
    pieces: list[list[int]] = []
    room = 0
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if costs[i] > room:
            pieces.append([])
            room = limit
        pieces[-1].append(i)
        room -= costs[i]
    return pieces


def pick(rows: Tensor, indices: RowIndices) -> Tensor:
    """(All, ...) -> (I, ...)."""
    scattered = indices.scattered
    return rows[indices.first : indices.last] if scattered is None else rows[scattered]


def row_indices(rows: Sequence[int], upload: Callable[[Tensor], Tensor]) -> RowIndices:
    """The rows with these numbers, in their order. `upload` brings a tensor to the device."""
    first, last = rows[0], rows[0] + len(rows)
    adjacent = list(rows) == list(range(first, last))
    return RowIndices(first, last, None if adjacent else upload(torch.tensor(rows)))


def common_length(length: int) -> int:
    """`length` rounded up to one of 2, 4, ... 16, 20, ... 32, 40, ... 64, 80, ...

    So texts of all lengths make batches of only a few. oneDNN compiles code for every number of rows that it
    multiplies, and keeps a limited amount of it.
    """
    step = max(2, (1 << (length - 1).bit_length()) >> 3)
    return -(-length // step) * step


def padded(ids: Sequence[tuple[int, ...]], length: int = 0) -> tuple[Tensor, Tensor | None]:
    """(B, T) ids and a (B, T) mask that is true at tokens, `None` if no row is padded.

    T is the longest row's, and at least `length`.
    """
    longest = max(length, *map(len, ids))
    filled = np.zeros((len(ids), longest), dtype=np.int64)
    mask = np.zeros((len(ids), longest), dtype=np.bool_)
    for i, row in enumerate(ids):
        filled[i, : len(row)] = row
        mask[i, : len(row)] = True
    return torch.from_numpy(filled), None if mask.all() else torch.from_numpy(mask)
