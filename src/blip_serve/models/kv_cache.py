"""The KV cache: self-attention keys and values of the sequences being generated.

A sequence holds a slot between its steps. All slots of a layer are one tensor, so that a step on many sequences reads
and writes it at once. In a slot the keys' heads come first, then the values'.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from blip_serve.models.attention import Past
from blip_serve.models.config import TextConfig
from blip_serve.models.device import Device
from blip_serve.models.text_batches import row_indices

FIRST_SLOTS, FIRST_TOKENS = 4, 32
"""The size of the first tensors. It doubles when more is needed. The memory is freed when no slot is in use."""


class KVCache:
    """At most `limit` slots. A step writes each token at its own position, so trying it again writes the same.

    `take` and `give_back` only do bookkeeping on the host. All else touches the device and belongs to a step.
    """

    def __init__(self, config: TextConfig, device: Device, limit: int) -> None:
        self._layers = config.num_hidden_layers
        self._heads = config.num_attention_heads
        self._width = config.hidden_size // config.num_attention_heads
        self._device = device
        self._limit = limit
        self._free = list(range(limit))  # ascending: slots in use stay close together
        self._kept: list[Tensor] = []  # a layer's (slots, 2 heads, tokens, width)

    def take(self, count: int) -> tuple[int, ...] | None:
        """The lowest `count` free slots, or `None` if there are fewer. They must be wiped before they are read."""
        if count > len(self._free):
            return None
        taken, self._free = self._free[:count], self._free[count:]
        return tuple(taken)

    def give_back(self, slots: Sequence[int]) -> None:
        """Frees slots. When all are free, frees the memory too."""
        self._free = sorted([*self._free, *slots])
        if len(self._free) == self._limit:
            self._kept = []

    def make_room(self, slots: int, tokens: int) -> None:
        """Makes the first `slots` slots large enough for `tokens` tokens each."""
        have_slots, have_tokens = (self._kept[0].shape[0], self._kept[0].shape[2]) if self._kept else (0, 0)
        if slots <= have_slots and tokens <= have_tokens:
            return
        slots, tokens = _doubled(FIRST_SLOTS, slots, have_slots), _doubled(FIRST_TOKENS, tokens, have_tokens)
        self._kept = [self._grown(layer, slots, tokens) for layer in range(self._layers)]

    def wipe(self, slots: Sequence[int]) -> None:
        """Fills slots with zeros, in the step that first writes to them, and again when that step is tried again.

        A failed step may have left NaN there. Even masked, that would spoil the sequences that share a step with it.
        """
        if slots:
            index = self._device.upload(torch.tensor(slots))
            for kept in self._kept:
                kept.index_fill_(0, index, 0)

    def step(self, slots: Sequence[int], positions: Tensor, start: int | None, length: int) -> list[Past]:
        """Each layer's part in a step that writes tokens of `slots` at `positions` (B, T) and reads up to `length`.

        `make_room` must have been called for them. `start`: the first position, if it is the same for all slots.
        """
        here = row_indices(slots, self._device.upload)
        if here.scattered is None and start is not None:
            return [Past(kept, here, start, length, None) for kept in self._kept]
        index = self._device.upload(torch.tensor(slots)) if here.scattered is None else here.scattered
        return [Past(kept, here, 0, length, (index[:, None], positions)) for kept in self._kept]

    def reorder(self, slots: Sequence[int], parents: Sequence[int], length: int) -> None:
        """Copies the first `length` tokens of slot `slots[parents[i]]` into slot `slots[i]`, for all i at once."""
        moved = [(slot, slots[parent]) for slot, parent in zip(slots, parents, strict=True) if slot != slots[parent]]
        if moved:
            to, origin = (self._device.upload(torch.tensor(index)) for index in zip(*moved, strict=True))
            for kept in self._kept:
                kept[to, :, :length] = kept[origin, :, :length]

    def _grown(self, layer: int, slots: int, tokens: int) -> Tensor:
        shape = (slots, 2 * self._heads, tokens, self._width)
        grown = torch.zeros(shape, dtype=self._device.dtype, device=self._device.kind)
        if self._kept:
            old = self._kept[layer]
            grown[: old.shape[0], :, : old.shape[2]] = old
        return grown


def largest_bytes(config: TextConfig, device: Device, limit: int) -> int:
    """What `limit` slots take when all are in use and full."""
    slots = _doubled(FIRST_SLOTS, limit, 0)
    tokens = _doubled(FIRST_TOKENS, config.max_position_embeddings, 0)
    return config.num_hidden_layers * slots * 2 * config.hidden_size * tokens * device.dtype.itemsize


def _doubled(first: int, needed: int, have: int) -> int:
    size = max(first, have)
    while size < needed:
        size *= 2
    return size
