"""BLIP's text tower (BERT with cross-attention to an image), reading in both directions.

Names as in the hub's checkpoints below `text_encoder.`; checked against transformers. Cross-attention is computed per
image, not per caption: the captions of an image are one long query, and its keys and values are projected once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from blip_serve.models.config import TextConfig
from blip_serve.models.layers import ACTIVATIONS, Dense, merge_heads, split_heads


@dataclass(frozen=True, slots=True)
class ImageGroup:
    """Images with the same number of captions each: (I, N, D_image) tokens, and the I * `captions` rows they own."""

    tokens: Tensor
    captions: int


def group_images(tokens: Sequence[Tensor], captions: Sequence[int]) -> list[ImageGroup]:
    """Adjacent images with equally many captions, together.

    `tokens`: (N, D_image) of each image; `captions`: how many of the step's rows are each image's, in order.
    """
    runs = [[i for i, _ in run] for _, run in groupby(enumerate(captions), key=lambda pair: pair[1])]
    return [ImageGroup(torch.stack([tokens[i] for i in run]), captions[run[0]]) for run in runs]


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

    def to_images(self, x: Tensor, groups: Sequence[ImageGroup]) -> Tensor:
        """(B, T, D) -> (B, T, D); the rows belong to the groups' images, in order."""
        query = self.self.query(x)
        rows = query.split([len(group.tokens) * group.captions for group in groups])
        seen = [self._look(part, group).view_as(part) for part, group in zip(rows, groups, strict=True)]
        out: Tensor = self.output(seen[0] if len(seen) == 1 else torch.cat(seen), x)
        return out

    def _look(self, query: Tensor, group: ImageGroup) -> Tensor:
        images = len(group.tokens)
        asking = query.reshape(images, -1, query.shape[-1])  # (I, captions * T, D): one query an image
        key, value = self.self.key(group.tokens), self.self.value(group.tokens)
        attended = F.scaled_dot_product_attention(
            split_heads(asking, self.heads), split_heads(key, self.heads), split_heads(value, self.heads)
        )
        return merge_heads(attended)


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

    def forward(self, x: Tensor, mask: Tensor | None, groups: Sequence[ImageGroup] | None, queries: int) -> Tensor:
        """(B, T, D) -> (B, queries, D)."""
        x = self.attention.to_itself(x, mask, queries)
        if groups is not None:
            x = self.crossattention.to_images(x, groups)
        out: Tensor = self.output(self.intermediate(x), x)
        return out


class TextLayers(nn.Module):
    """The stack of layers."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(TextLayer(config) for _ in range(config.num_hidden_layers))


class TextTower(nn.Module):
    """Token ids, and images or none, to the summary at position 0."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.embeddings = TextEmbeddings(config)
        self.encoder = TextLayers(config)

    def forward(self, ids: Tensor, mask: Tensor | None, groups: Sequence[ImageGroup] | None = None) -> Tensor:
        """(B, T) ids -> (B, D) hidden states of position 0.

        `mask` (B, T) is true at words, `None` where no row is padded; `groups` own the rows in order.
        The last layer computes position 0 alone: nothing else of it is read.
        """
        x = self.embeddings(ids)
        attended = None if mask is None else mask[:, None, None, :]
        *lower, last = self.encoder.layer
        for layer in lower:
            x = layer(x, attended, groups, x.shape[1])
        out: Tensor = last(x, attended, groups, 1)[:, 0]
        return out
