"""BLIP's text tower (BERT with cross-attention to an image), and its reading in both directions.

Names as in the hub's checkpoints below `text_encoder.`; checked against transformers. Cross-attention is computed per
image, not per caption: the captions of an image are one long query, and its keys and values are projected once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from blip_serve.models.config import TextConfig
from blip_serve.models.layers import ACTIVATIONS, Dense, merge_heads, split_heads
from blip_serve.models.text_batches import TextBatch

Extend = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Puts what came before in front of the (B, heads, T, D / heads) keys and values of new words."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What rows attend to: (I, heads, N, D / heads) keys and values of I images, each owning `rows` rows in order."""

    key: Tensor
    value: Tensor
    rows: int


class TextEmbeddings(nn.Module):
    """Words plus positions, normalised."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, ids: Tensor, positions: Tensor | None = None) -> Tensor:
        """(B, T) token ids -> (B, T, D); `positions` (B, T) where they do not count from 0."""
        weight = self.position_embeddings.weight
        places = weight[: ids.shape[1]] if positions is None else weight[positions]
        out: Tensor = self.LayerNorm(self.word_embeddings(ids) + places)
        return out


class Projections(nn.Module):
    """Query, key and value of an attention (`self` in BERT's nesting)."""

    def __init__(self, width: int, source_width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(source_width, width)
        self.value = nn.Linear(source_width, width)


class Attention(nn.Module):
    """Attention of a text to itself, or to an image, with BERT's output layer."""

    def __init__(self, config: TextConfig, source_width: int) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.self = Projections(config.hidden_size, source_width)
        self.output = Dense(config.hidden_size, config.hidden_size, config.layer_norm_eps)

    def to_itself(self, x: Tensor, mask: Tensor | None, queries: int, extend: Extend | None = None) -> Tensor:
        """(B, T, D) -> (B, queries, D), of the first `queries` positions.

        `mask` (B, 1, 1 or T, S) is true where a position may attend to one of the S there are, `extend`'s included.
        """
        asking = x[:, :queries]
        query, key, value = (
            split_heads(projection(states), self.heads)
            for projection, states in ((self.self.query, asking), (self.self.key, x), (self.self.value, x))
        )
        if extend is not None:
            key, value = extend(key, value)
        out: Tensor = self.output(merge_heads(F.scaled_dot_product_attention(query, key, value, mask)), asking)
        return out

    def project(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(I, N, D_image) tokens -> their keys and values, (I, heads, N, D / heads) each."""
        return split_heads(self.self.key(images), self.heads), split_heads(self.self.value(images), self.heads)

    def to_images(self, x: Tensor, seen: Sequence[Seen]) -> Tensor:
        """(B, T, D) -> (B, T, D); the rows of an image are one long query to its keys and values."""
        query = self.self.query(x)
        done, parts = 0, []
        for images in seen:
            rows = query[done : done + len(images.key) * images.rows]
            asking = split_heads(rows.reshape(len(images.key), -1, rows.shape[-1]), self.heads)
            found = F.scaled_dot_product_attention(asking, images.key, images.value)
            parts.append(merge_heads(found).view_as(rows))
            done += len(rows)
        out: Tensor = self.output(parts[0] if len(parts) == 1 else torch.cat(parts), x)
        return out


class Intermediate(nn.Module):
    """The widening half of BERT's feed-forward."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[config.hidden_act]
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, inner)."""
        return self.activation(self.dense(x))


class TextLayer(nn.Module):
    """Self-attention, cross-attention where images are given, feed-forward; norms after each."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.attention = Attention(config, config.hidden_size)
        self.crossattention = Attention(config, config.encoder_hidden_size)
        self.intermediate = Intermediate(config)
        self.output = Dense(config.intermediate_size, config.hidden_size, config.layer_norm_eps)

    def forward(
        self, x: Tensor, mask: Tensor | None, seen: Sequence[Seen], queries: int, extend: Extend | None = None
    ) -> Tensor:
        """(B, T, D) -> (B, queries, D); `mask` and `extend` as `Attention.to_itself` has them."""
        x = self.attention.to_itself(x, mask, queries, extend)
        if seen:
            x = self.crossattention.to_images(x, seen)
        out: Tensor = self.output(self.intermediate(x), x)
        return out


class TextLayers(nn.Module):
    """The stack of layers."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(TextLayer(config) for _ in range(config.num_hidden_layers))

    def layers(self) -> Iterator[TextLayer]:
        """The layers, first to last."""
        return (layer for layer in self.layer if isinstance(layer, TextLayer))


class TextTower(nn.Module):
    """Token ids, and images or none, to hidden states."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.embeddings = TextEmbeddings(config)
        self.encoder = TextLayers(config)

    def forward(self, batches: Sequence[TextBatch], images: Tensor | None = None) -> Tensor:
        """Batches of B rows in all -> (B, D) hidden states of position 0, in the batches' order.

        The last layer computes position 0 alone: nothing else of it is read. `images` as `states` has them.
        """
        return torch.cat([x[:, 0] for x in self.states(batches, images, summaries=True)])

    def states(
        self, batches: Sequence[TextBatch], images: Tensor | None = None, summaries: bool = False
    ) -> list[Tensor]:
        """Batches of B rows each -> (B, T, D) hidden states of each, or (B, 1, D) of position 0 for `summaries`.

        `images` (I, N, D_image) are the tokens of the images that the batches' groups index, projected once a layer
        for all batches.
        """
        states = [self.embeddings(batch.ids) for batch in batches]
        masks = [None if batch.mask is None else batch.mask[:, None, None, :] for batch in batches]
        for number, layer in enumerate(self.encoder.layers(), start=1):
            projected = None if images is None else layer.crossattention.project(images)
            only_first = summaries and number == len(self.encoder.layer)
            states = [
                layer(x, mask, _seen(batch, projected), 1 if only_first else x.shape[1])
                for x, mask, batch in zip(states, masks, batches, strict=True)
            ]
        return states


def _seen(batch: TextBatch, projected: tuple[Tensor, Tensor] | None) -> list[Seen]:
    if projected is None:
        return []
    key, value = projected
    return [Seen(key[group.images], value[group.images], group.captions) for group in batch.groups]
