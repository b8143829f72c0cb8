"""Texts of mixed length as batches of like length. Knows no network."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

MAX_SPREAD = 2
"""In a batch the longest row is at most this many times the shortest, so that less than half of it is padding."""
SHORT = 8
"""Rows of up to this many tokens share a batch whatever their spread."""
FEW = 16
"""Batches of up to this many rows are padded to a `common_length`.

Texts of every length in steps of 1 to 16 images then take 0.9 of the time; 64 captions of an image would take 1.15.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One caption's ids, and which of the step's images it is read against."""

    ids: tuple[int, ...]
    image: int = 0


class Places(NamedTuple):
    """Some rows of a tensor: `first` up to `last`, which copies nothing, unless they lie (I,) `apart`.

    Named tuples are what TorchScript reads.
    """

    first: int
    last: int
    apart: Tensor | None


class ImageGroup(NamedTuple):
    """Some images that own `captions` rows of a batch each.

    `images` are places among the step's images, or for a `wide` group among those of them that are projected.
    """

    images: Places
    captions: int
    wide: bool


@dataclass(frozen=True, slots=True)
class TextBatch:
    """(B, T) ids; `mask` (B, T) is true at words, `None` where no row is padded; `groups` own the rows in order."""

    ids: Tensor
    mask: Tensor | None
    groups: list[ImageGroup]


@dataclass(frozen=True, slots=True)
class BatchedRows:
    """Batches of all rows; `order`: the places of the batches' rows among those given.

    `wide`: the step's images that have more tokens of text than `folded` allows, if any has.
    """

    batches: Sequence[TextBatch]
    order: Sequence[int]
    wide: Places | None


def batch_rows(rows: Sequence[Row], positions: int, folded: int, upload: Callable[[Tensor], Tensor]) -> BatchedRows:
    """Rows as batches, no longer than the `positions` of the tower.

    `folded` as `Device` has it; `upload` brings a tensor to the device.
    """
    tokens = Counter[int]()
    for row in rows:
        tokens[row.image] += len(row.ids)
    wide = sorted(image for image, count in tokens.items() if count > folded)
    number = {image: place for place, image in enumerate(wide)}
    batches, order = [], []
    for bucket in buckets([len(row.ids) for row in rows]):
        owned: dict[int, list[int]] = {}
        for place in bucket:
            owned.setdefault(rows[place].image, []).append(place)
        by_count = sorted(owned.items(), key=lambda image: (len(image[1]), image[0] in number, image[0]))
        places = [place for _, own in by_count for place in own]
        groups = [
            ImageGroup(places_of([number.get(image, image) for image, _ in run], upload), captions, is_wide)
            for (captions, is_wide), run in groupby(by_count, key=lambda image: (len(image[1]), image[0] in number))
        ]
        length = 0
        if len(bucket) <= FEW:
            length = min(common_length(len(rows[bucket[-1]].ids)), positions)
        ids, mask = padded([rows[place].ids for place in places], length)
        batches.append(TextBatch(upload(ids), None if mask is None else upload(mask), groups))
        order += places
    return BatchedRows(batches, order, places_of(wide, upload) if wide else None)


def buckets(lengths: Sequence[int]) -> list[list[int]]:
    """Places of texts of like length, for all of `lengths`; the shortest first."""
    found: list[list[int]] = []
    limit = 0
    for place in sorted(range(len(lengths)), key=lambda place: lengths[place]):
        if lengths[place] > limit:
            found.append([])
            limit = max(SHORT, MAX_SPREAD * lengths[place])
        found[-1].append(place)
    return found


def cut(lengths: Sequence[int], costs: Sequence[int], limit: int) -> list[list[int]]:
    """Places of all texts by length, a new piece begun where the last one would cost more than `limit`."""
    pieces: list[list[int]] = []
    room = 0
    for place in sorted(range(len(lengths)), key=lambda place: lengths[place]):
        if costs[place] > room:
            pieces.append([])
            room = limit
        pieces[-1].append(place)
        room -= costs[place]
    return pieces


def pick(rows: Tensor, places: Places) -> Tensor:
    """(All, ...) -> (I, ...)."""
    apart = places.apart
    return rows[places.first : places.last] if apart is None else rows[apart]


def places_of(rows: Sequence[int], upload: Callable[[Tensor], Tensor]) -> Places:
    """The places of rows, in their order. `upload` brings a tensor to the device."""
    first, last = rows[0], rows[0] + len(rows)
    together = list(rows) == list(range(first, last))
    return Places(first, last, None if together else upload(torch.tensor(rows)))


def common_length(length: int) -> int:
    """The next of 2, 4, ... 16, 20, ... 32, 40, ... 64, 80, ...: texts of all lengths are batches of few.

    oneDNN makes code for every number of rows it multiplies, and keeps a bounded number of them.
    """
    step = max(2, (1 << (length - 1).bit_length()) >> 3)
    return -(-length // step) * step


def padded(ids: Sequence[tuple[int, ...]], length: int = 0) -> tuple[Tensor, Tensor | None]:
    """(B, T) ids, as long as the longest or `length`, and a (B, T) mask that is true at words.

    The mask is `None` where no row is padded.
    """
    longest = max(length, *map(len, ids))
    filled = np.zeros((len(ids), longest), dtype=np.int64)
    mask = np.zeros((len(ids), longest), dtype=np.bool_)
    for row, words in enumerate(ids):
        filled[row, : len(words)] = words
        mask[row, : len(words)] = True
    return torch.from_numpy(filled), None if mask.all() else torch.from_numpy(mask)
