"""BLIP's text tower (BERT with cross-attention to an image), reading in both directions.

Names as in the hub's checkpoints below `text_encoder.`; checked against transformers. Cross-attention is computed per
image, not per caption: the captions of an image are one long query, and its keys and values are projected once.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from blip_serve.models.config import TextConfig
from blip_serve.models.layers import ACTIVATIONS, Dense, merge_heads, split_heads
from blip_serve.models.text_batches import ImageGroup, TextBatch


class TextEmbeddings(nn.Module):
    """Words plus positions, normalised."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) token ids -> (B, T, D)."""
        out: Tensor = self.LayerNorm(self.word_embeddings(ids) + self.position_embeddings.weight[: ids.shape[1]])
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

    def to_itself(self, x: Tensor, mask: Tensor | None, queries: int) -> Tensor:
        """(B, T, D) -> (B, queries, D), of the first `queries` positions; `mask` (B, 1, 1, T) is true at words."""
        asking = x[:, :queries]
        query, key, value = (
            split_heads(projection(states), self.heads)
            for projection, states in ((self.self.query, asking), (self.self.key, x), (self.self.value, x))
        )
        out: Tensor = self.output(merge_heads(F.scaled_dot_product_attention(query, key, value, mask)), asking)
        return out

    def project(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(I, N, D_image) tokens -> their keys and values, (I, heads, N, D / heads) each."""
        return split_heads(self.self.key(images), self.heads), split_heads(self.self.value(images), self.heads)

    def to_images(self, x: Tensor, groups: Sequence[ImageGroup], key: Tensor, value: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D); the captions of an image are one long query to its keys and values."""
        query = self.self.query(x)
        done, parts = 0, []
        for group in groups:
            keys, values = key[group.images], value[group.images]
            rows = query[done : done + len(keys) * group.captions]
            asking = split_heads(rows.reshape(len(keys), -1, rows.shape[-1]), self.heads)
            parts.append(merge_heads(F.scaled_dot_product_attention(asking, keys, values)).view_as(rows))
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

    def forward(self, x: Tensor, batch: TextBatch, seen: tuple[Tensor, Tensor] | None, queries: int) -> Tensor:
        """(B, T, D) -> (B, queries, D); `seen` are the keys and values of the images that the batch's groups index."""
        x = self.attention.to_itself(x, None if batch.mask is None else batch.mask[:, None, None, :], queries)
        if seen is not None:
            x = self.crossattention.to_images(x, batch.groups, *seen)
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
    """Token ids, and images or none, to the summary at position 0."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.embeddings = TextEmbeddings(config)
        self.encoder = TextLayers(config)

    def forward(self, batches: Sequence[TextBatch], images: Tensor | None = None) -> Tensor:
        """Batches of B rows in all -> (B, D) hidden states of position 0, in the batches' order.

        `images` (I, N, D_image) are the tokens of the images that the batches' groups index, projected once a layer
        for all batches. The last layer computes position 0 alone: nothing else of it is read.
        """
        states = [self.embeddings(batch.ids) for batch in batches]
        for number, layer in enumerate(self.encoder.layers(), start=1):
            seen = None if images is None else layer.crossattention.project(images)
            last = number == len(self.encoder.layer)
            states = [
                layer(x, batch, seen, 1 if last else x.shape[1]) for x, batch in zip(states, batches, strict=True)
            ]
        return torch.cat([x[:, 0] for x in states])
