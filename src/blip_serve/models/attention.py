"""A text's attention to itself and to images.

Cross-attention is computed per image, not per caption: the captions of an image are one long query. An image's keys and
values are projected once for all its captions. For a short query they are not projected at all: the two projections are
applied to the query and to the result instead ("folded").
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from blip_serve.models.config import TextConfig
from blip_serve.models.kernels import NEVER, Kernels
from blip_serve.models.layers import Dense, DotProductAttention, Linear, merge_heads, split_heads
from blip_serve.models.text_batches import RowIndices, pick


class Seen(NamedTuple):
    """The images that some rows of a batch attend to: I images, each with `rows` rows, in order.

    `key` and `value`: (I, heads, N, D / heads). For images that are not projected, `key` is their (I, N, D_image)
    tokens and `value` is `None`.
    """

    key: Tensor
    value: Tensor | None
    rows: int


class Past(NamedTuple):
    """A layer's part of the KV cache in a step on B sequences.

    `kept`: the whole of it, (slots, 2 heads, tokens, D / heads). `slots`: the sequences' slots. `length`: the tokens
    read of each, the new ones included. `written`: where the new ones go, (B, 1) slots and (B, T) positions. It is
    `None` if the slots are adjacent and the new ones go to positions `start` up to `length` in all of them.
    """

    kept: Tensor
    slots: RowIndices
    start: int
    length: int
    written: tuple[Tensor, Tensor] | None


class Projections(nn.Module):
    """Query, key and value of an attention (`self` in BERT's nesting)."""

    def __init__(self, width: int, source_width: int) -> None:
        super().__init__()
        self.query = Linear(width, width)
        self.key = Linear(source_width, width)
        self.value = Linear(source_width, width)


class Attention(nn.Module):
    """An attention of a text, with BERT's output layer. Call `join` once the weights are loaded."""

    def __init__(self, config: TextConfig, source_width: int) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.head = config.hidden_size // self.heads  # numbers of each
        self.self = Projections(config.hidden_size, source_width)
        self.attend = DotProductAttention()
        self.output = Dense(config.hidden_size, config.hidden_size, config.layer_norm_eps)

    def join(self) -> None:
        """Makes one layer of the layers that have the same input."""
        raise NotImplementedError


class SelfAttention(Attention):
    """Attention of a text to itself."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__(config, config.hidden_size)

    def join(self) -> None:
        """Makes one layer of query, key and value."""
        self.joined = Linear.join([self.self.query, self.self.key, self.self.value])
        del self.self

    def forward(self, x: Tensor, mask: Tensor | None, queries: int, past: Past | None) -> Tensor:
        """(B, T, D) -> (B, queries, D), of the first `queries` positions.

        `mask` (B, 1, 1 or T, S) is true where a position may attend to one of S. These S include those of `past`.
        """
        joined = split_heads(self.joined(x), 3 * self.heads)
        query, new = joined[:, : self.heads], joined[:, self.heads :]
        if queries < x.shape[1]:
            query, x = query[:, :, :queries], x[:, :queries]
        if past is not None:
            new = _extended(past, new)
        key, value = new.chunk(2, dim=1)
        found = self.attend(query, key, value, mask)
        out: Tensor = self.output(merge_heads(found), x)
        return out


def _extended(past: Past, new: Tensor) -> Tensor:
    """Writes new keys and values, (B, 2 heads, T, D / heads), to the cache, and returns them behind the older ones."""
    written = past.written
    if written is None:
        pick(past.kept, past.slots)[:, :, past.start : past.length] = new
    else:
        slots, positions = written
        past.kept[slots, :, positions] = new.transpose(1, 2)  # tensors as indices put the tokens before the heads
    return pick(past.kept[:, :, : past.length], past.slots)


class CrossAttention(Attention):
    """Attention of a text to images."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__(config, config.encoder_hidden_size)
        self._together = NEVER

    def join(self) -> None:
        """Makes one layer of key and value. Its weight is also kept in its plain form, for folding."""
        self.query = self.self.query
        self.seen = Linear.join([self.self.key, self.self.value])
        self.seen_weight = self.seen.weight
        del self.self

    def tune(self, kernels: Kernels, threads: int) -> None:
        """Bounds what is multiplied at once; see `Kernels`."""
        self._together = kernels.images_in_a_product

    def project(self, images: Tensor) -> Tensor:
        """(I, N, D_image) tokens -> (I, 2 heads, N, D / heads): the keys' heads, then the values'."""
        return split_heads(self.seen(images), 2 * self.heads)

    def forward(self, x: Tensor, seen: list[Seen]) -> Tensor:
        """(B, T, D) -> (B, T, D). The rows of an image are one long query."""
        query: Tensor = self.query(x)
        if len(seen) == 1:
            found = self._attend(query, seen[0])
        else:
            rows = torch.split(query, [len(images.key) * images.rows for images in seen])
            found = torch.cat([self._attend(rows[i], seen[i]) for i in range(len(seen))])
        out: Tensor = self.output(found, x)
        return out

    def _attend(self, query: Tensor, images: Seen) -> Tensor:
        """(B, T, D) -> (B, T, D), of the rows of these images."""
        asking = query.reshape(len(images.key), -1, query.shape[-1])
        value = images.value
        if value is None:
            asked, tokens = torch.split(asking, self._together), torch.split(images.key, self._together)
            folded = [self._fold(asked[i], tokens[i]) for i in range(len(asked))]
            return (folded[0] if len(folded) == 1 else torch.cat(folded)).view_as(query)
        found = self.attend(split_heads(asking, self.heads), images.key, value)
        return merge_heads(found).view_as(query)

    def shares(self, asking: Tensor, images: Seen) -> Tensor:
        """(I, Q, D) queries -> (I, heads, Q, N): how much each attends to each of the images' tokens; sums to 1."""
        if images.value is None:
            found = self._folded_shares(asking, images.key)
            return found.view(len(found), self.heads, -1, found.shape[-1])
        query = split_heads(asking, self.heads)
        return torch.matmul(query * query.shape[-1] ** -0.5, images.key.transpose(-2, -1)).softmax(dim=-1)

    def weighed(self, shares: Tensor, images: Seen) -> Tensor:
        """(I, heads, Q, N) `shares` -> (I, Q, D): the sum of the images' values by them.

        They sum to 1, but what a change of one of them would do is asked too, and that has b_v in it.
        """
        if images.value is not None:
            return merge_heads(torch.matmul(shares, images.value))
        values = self._folded_values(shares.flatten(1, 2), images.key)
        sums = shares.sum(dim=-1).transpose(1, 2)[..., None]  # (I, Q, heads, 1)
        return values + (sums * self._value_bias().view(self.heads, -1)).flatten(2)

    def _fold(self, asking: Tensor, tokens: Tensor) -> Tensor:
        """(I, Q, D) and (I, N, D_image) -> (I, Q, D): the same as attention to the projected tokens.

        For a head, q (W_k x + b_k) is (W_k^T q) x plus a number that is the same for all x, which softmax ignores. The
        weighted mean of W_v x + b_v is W_v times the weighted mean of x, plus b_v.
        """
        return self._folded_values(self._folded_shares(asking, tokens), tokens) + self._value_bias()

    def _folded_shares(self, asking: Tensor, tokens: Tensor) -> Tensor:
        """(I, Q, D) and (I, N, D_image) -> (I, heads Q, N)."""
        images, queries = asking.shape[:2]
        to_key = self.seen_weight.view(2, self.heads, self.head, -1)[0]
        asked = (asking * self.head**-0.5).view(images * queries, self.heads, self.head).transpose(0, 1)
        asked = torch.bmm(asked, to_key).view(self.heads, images, -1).transpose(0, 1)
        scores = torch.bmm(asked.reshape(images, self.heads * queries, -1), tokens.transpose(1, 2))
        return scores.softmax(dim=-1)

    def _folded_values(self, shares: Tensor, tokens: Tensor) -> Tensor:
        """(I, heads Q, N) and (I, N, D_image) -> (I, Q, D), without b_v."""
        images, width = len(tokens), self.heads * self.head
        to_value = self.seen_weight.view(2, self.heads, self.head, -1)[1]
        found = torch.bmm(shares, tokens)
        found = found.view(images, self.heads, -1).transpose(0, 1).reshape(self.heads, -1, tokens.shape[-1])
        return torch.bmm(found, to_value.transpose(1, 2)).transpose(0, 1).reshape(images, -1, width)

    def _value_bias(self) -> Tensor:
        """(D,), b_v."""
        bias: Tensor = self.seen.bias
        return bias[self.heads * self.head :]
