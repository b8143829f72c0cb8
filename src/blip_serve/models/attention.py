"""A text's attention to itself and to images.

Cross-attention is computed per image, not per caption: the captions of an image are one long query. Its keys and values
are projected once for all of them, or not at all where the query is short: then the projections are folded into the
query and into what it finds.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from blip_serve.models.config import TextConfig
from blip_serve.models.layers import Dense, DotProductAttention, Linear, merge_heads, split_heads
from blip_serve.models.text_batches import Places, pick

ALL = 1 << 31
"""More images than there are: all in one product."""
IN_A_PRODUCT = 4
"""Images that are attended to as they are in one product of oneDNN's.

It makes code for every number of them and of words, and keeps it: 95 MB less for as many pairs a second of the
embedded checkpoint as without a bound.
"""


class Seen(NamedTuple):
    """What rows attend to: I images, each owning `rows` rows in order.

    (I, heads, N, D / heads) keys and values; without values, (I, N, D_image) tokens, to be attended to as they are.
    """

    key: Tensor
    value: Tensor | None
    rows: int


class Past(NamedTuple):
    """Where the keys and values of B rows of words are, (R, 2 heads, words, D / heads), and where new ones go.

    They are in `rows`, `length` words of each with the new ones. Those go to `written`, (B, 1) rows and (B, T)
    positions, or without it, where the rows lie together, to what `start` up to `length` is in each.
    """

    kept: Tensor
    rows: Places
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
    """An attention of a text, with BERT's output layer. To be `join`ed once its weights are loaded."""

    def __init__(self, config: TextConfig, source_width: int) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.self = Projections(config.hidden_size, source_width)
        self.attend = DotProductAttention()
        self.output = Dense(config.hidden_size, config.hidden_size, config.layer_norm_eps)

    def join(self) -> None:
        """Makes one layer of those that read the same."""
        raise NotImplementedError


class SelfAttention(Attention):
    """Attention of a text to itself."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__(config, config.hidden_size)

    def join(self) -> None:
        """One layer for query, key and value."""
        self.joined = Linear.join([self.self.query, self.self.key, self.self.value])
        del self.self

    def forward(self, x: Tensor, mask: Tensor | None, queries: int, past: Past | None) -> Tensor:
        """(B, T, D) -> (B, queries, D), of the first `queries` positions.

        `mask` (B, 1, 1 or T, S) is true where a position may attend to one of the S there are, `past`'s included.
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
    """Puts new keys and values, (B, 2 heads, T, D / heads), behind those that are kept, and reads them all."""
    written = past.written
    if written is None:
        pick(past.kept, past.rows)[:, :, past.start : past.length] = new
    else:
        rows, positions = written
        past.kept[rows, :, positions] = new.transpose(1, 2)  # tensors as indices put the words before the heads
    return pick(past.kept[:, :, : past.length], past.rows)


class CrossAttention(Attention):
    """Attention of a text to images."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__(config, config.encoder_hidden_size)
        self._together = ALL

    def join(self) -> None:
        """One layer for key and value, whose weight is kept as it is besides, to be folded."""
        self.query = self.self.query
        self.seen = Linear.join([self.self.key, self.self.value])
        self.seen_weight = self.seen.weight
        del self.self

    def fuse(self, tiles: bool, threads: int) -> None:
        """For the products of oneDNN's; see `IN_A_PRODUCT`."""
        self._together = IN_A_PRODUCT

    def project(self, images: Tensor) -> Tensor:
        """(I, N, D_image) tokens -> (I, 2 heads, N, D / heads), their keys' heads and then their values'."""
        return split_heads(self.seen(images), 2 * self.heads)

    def forward(self, x: Tensor, seen: list[Seen]) -> Tensor:
        """(B, T, D) -> (B, T, D); the rows of an image are one long query to it."""
        query: Tensor = self.query(x)
        if len(seen) == 1:
            found = self._attend(query, seen[0])
        else:
            rows = torch.split(query, [len(images.key) * images.rows for images in seen])
            found = torch.cat([self._attend(rows[i], seen[i]) for i in range(len(seen))])
        out: Tensor = self.output(found, x)
        return out

    def _attend(self, query: Tensor, images: Seen) -> Tensor:
        """(B, T, D) -> (B, T, D), of rows that are all of these images."""
        asking = query.reshape(len(images.key), -1, query.shape[-1])
        value = images.value
        if value is None:
            asked, tokens = torch.split(asking, self._together), torch.split(images.key, self._together)
            folded = [self._fold(asked[i], tokens[i]) for i in range(len(asked))]
            return (folded[0] if len(folded) == 1 else torch.cat(folded)).view_as(query)
        found = self.attend(split_heads(asking, self.heads), images.key, value)
        return merge_heads(found).view_as(query)

    def _fold(self, asking: Tensor, tokens: Tensor) -> Tensor:
        """(I, Q, D) and (I, N, D_image) -> (I, Q, D), as attention to the projected tokens.

        A head's q (W_k x + b_k) is (W_k^T q) x and what softmax takes no notice of, the same for all x; and the mean of
        W_v x + b_v is W_v of the mean of x, plus b_v.
        """
        images, queries, width = asking.shape
        head = width // self.heads
        to_key, to_value = self.seen_weight.view(2, self.heads, head, -1).unbind()
        asked = (asking * head**-0.5).view(images * queries, self.heads, head).transpose(0, 1)
        asked = torch.bmm(asked, to_key).view(self.heads, images, -1).transpose(0, 1)
        scores = torch.bmm(asked.reshape(images, self.heads * queries, -1), tokens.transpose(1, 2))
        found = torch.bmm(scores.softmax(dim=-1), tokens)
        found = found.view(images, self.heads, -1).transpose(0, 1).reshape(self.heads, images * queries, -1)
        values = torch.bmm(found, to_value.transpose(1, 2)).transpose(0, 1).reshape(images, queries, width)
        return values + self.seen.bias[width:]
