"""BLIP's text tower (BERT with cross-attention to an image), and its reading in both directions.

Names as in the hub's checkpoints below `text_encoder.`; checked against transformers.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from blip_serve.models.attention import CrossAttention, Extend, Projected, Seen, SelfAttention, Unprojected
from blip_serve.models.config import TextConfig
from blip_serve.models.layers import Dense, Linear
from blip_serve.models.text_batches import BatchedRows, TextBatch


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


class Intermediate(nn.Module):
    """The widening half of BERT's feed-forward."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.intermediate_size, config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, inner)."""
        return self.dense.forward(x)


class TextLayer(nn.Module):
    """Self-attention, cross-attention where images are given, feed-forward; norms after each."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.attention = SelfAttention(config)
        self.crossattention = CrossAttention(config)
        self.intermediate = Intermediate(config)
        self.output = Dense(config.intermediate_size, config.hidden_size, config.layer_norm_eps)

    def forward(
        self, x: Tensor, mask: Tensor | None, seen: Sequence[Seen], queries: int, extend: Extend | None = None
    ) -> Tensor:
        """(B, T, D) -> (B, queries, D); `mask` and `extend` as `SelfAttention` has them."""
        x = self.attention.forward(x, mask, queries, extend)
        if seen:
            x = self.crossattention.forward(x, seen)
        return self.output.forward(self.intermediate.forward(x), x)


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
        self.positions = config.max_position_embeddings
        self.embeddings = TextEmbeddings(config)
        self.encoder = TextLayers(config)

    def forward(self, rows: BatchedRows, images: Tensor | None = None) -> Tensor:
        """B rows in all -> (B, D) hidden states of position 0, in the batches' order.

        The last layer computes position 0 alone: nothing else of it is read. `images` as `states` has them.
        """
        return torch.cat([x[:, 0] for x in self.states(rows, images, summaries=True)])

    def states(self, rows: BatchedRows, images: Tensor | None = None, summaries: bool = False) -> list[Tensor]:
        """Batches of B rows each -> (B, T, D) hidden states of each, or (B, 1, D) of position 0 for `summaries`.

        `images` (I, N, D_image) are the tokens of the images that the rows were batched by.
        """
        batches = rows.batches
        states = [self.embeddings(batch.ids) for batch in batches]
        masks = [None if batch.mask is None else batch.mask[:, None, None, :] for batch in batches]
        wide = None if images is None or rows.wide is None else images[rows.wide]
        for number, layer in enumerate(self.encoder.layers(), start=1):
            projected = None if wide is None else layer.crossattention.project(wide)
            only_first = summaries and number == len(self.encoder.layer)
            states = [
                layer.forward(x, mask, _seen(batch, images, projected), 1 if only_first else x.shape[1])
                for x, mask, batch in zip(states, masks, batches, strict=True)
            ]
        return states


def _seen(batch: TextBatch, images: Tensor | None, projected: Tensor | None) -> list[Seen]:
    if images is None:
        return []
    seen: list[Seen] = []
    for group in batch.groups:
        if group.wide and projected is not None:
            key, value = projected[group.images].chunk(2, dim=1)
            seen.append(Projected(key, value, group.captions))
        else:
            seen.append(Unprojected(images[group.images], group.captions))
    return seen
