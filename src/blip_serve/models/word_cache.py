"""Keys and values of the words of sequences under way: a row a sequence, all rows of a layer in one tensor.

A row has its keys' heads first, then its values': both are written and read in one operation.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from blip_serve.models.attention import Past
from blip_serve.models.config import TextConfig
from blip_serve.models.device import Device
from blip_serve.models.text_batches import places_of

FIRST_ROWS, FIRST_WORDS = 4, 32
"""What room is made for at first; it doubles when needed, and is given back when no sequence is left."""


class WordCache:
    """At most `limit` rows. Written where a row's words are, so that a step tried again writes the same.

    `take` and `give_back` are bookkeeping on the host; what touches the device belongs to a step.
    """

    def __init__(self, config: TextConfig, device: Device, limit: int) -> None:
        self._layers = config.num_hidden_layers
        self._heads = config.num_attention_heads
        self._width = config.hidden_size // config.num_attention_heads
        self._device = device
        self._limit = limit
        self._free = list(range(limit))  # ascending: rows in use stay close together
        self._kept: list[Tensor] = []  # (rows, 2 heads, words, width) a layer

    def take(self, count: int) -> tuple[int, ...] | None:
        """Rows for a work, the lowest first; `None` where there are not as many. To be wiped before they are read."""
        if count > len(self._free):
            return None
        taken, self._free = self._free[:count], self._free[count:]
        return tuple(taken)

    def give_back(self, rows: Sequence[int]) -> None:
        """Frees rows; with the last of them the memory."""
        self._free = sorted([*self._free, *rows])
        if len(self._free) == self._limit:
            self._kept = []

    def make_room(self, rows: int, words: int) -> None:
        """Sees to it that the first `rows` rows hold `words` words each."""
        have_rows, have_words = (self._kept[0].shape[0], self._kept[0].shape[2]) if self._kept else (0, 0)
        if rows <= have_rows and words <= have_words:
            return
        rows, words = _doubled(FIRST_ROWS, rows, have_rows), _doubled(FIRST_WORDS, words, have_words)
        self._kept = [self._grown(layer, rows, words) for layer in range(self._layers)]

    def wipe(self, rows: Sequence[int]) -> None:
        """Makes zeros of rows that there is room for. For the step that first writes them, however often it is tried.

        What a failed step left there may be no number, and masked it would still spoil those that share a step with it.
        """
        if rows:
            index = self._device.upload(torch.tensor(rows))
            for kept in self._kept:
                kept.index_fill_(0, index, 0)

    def step(self, rows: Sequence[int], positions: Tensor, start: int | None, length: int) -> list[Past]:
        """A step that writes the words of `rows` at `positions` (B, T), and reads up to `length` of each.

        There must be room for them. `start`: where all rows begin, if it is the same place.
        """
        here = places_of(rows, self._device.upload)
        if here.apart is None and start is not None:
            return [Past(kept, here, start, length, None) for kept in self._kept]
        index = self._device.upload(torch.tensor(rows)) if here.apart is None else here.apart
        return [Past(kept, here, 0, length, (index[:, None], positions)) for kept in self._kept]

    def reorder(self, rows: Sequence[int], parents: Sequence[int], length: int) -> None:
        """Row i of `rows` goes on from what row `parents[i]` of them was, whose first `length` words count."""
        moved = [(row, rows[parent]) for row, parent in zip(rows, parents, strict=True) if row != rows[parent]]
        if moved:
            to, origin = (self._device.upload(torch.tensor(index)) for index in zip(*moved, strict=True))
            for kept in self._kept:
                kept[to, :, :length] = kept[origin, :, :length]

    def _grown(self, layer: int, rows: int, words: int) -> Tensor:
        shape = (rows, 2 * self._heads, words, self._width)
        grown = torch.zeros(shape, dtype=self._device.dtype, device=self._device.kind)
        if self._kept:
            old = self._kept[layer]
            grown[: old.shape[0], :, : old.shape[2]] = old
        return grown


def _doubled(first: int, needed: int, have: int) -> int:
    room = max(first, have)
    while room < needed:
        room *= 2
    return room
