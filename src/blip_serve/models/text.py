"""BLIP's text tower: BERT with cross-attention to an image. Reads whole texts, or new tokens of growing ones.

Parameters are named as in the hub's checkpoints below `text_encoder.`.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from blip_serve.models.attention import CrossAttention, Past, Seen, SelfAttention
from blip_serve.models.config import TextConfig
from blip_serve.models.layers import Dense, Linear
from blip_serve.models.text_batches import BatchedRows, ImageGroup, pick


class TextEmbeddings(nn.Module):
    """Word embeddings plus position embeddings, normalised."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.word_embeddings = _embedding(config.vocab_size, config.hidden_size)
        self.position_embeddings = _embedding(config.max_position_embeddings, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, ids: Tensor, positions: Tensor | None = None) -> Tensor:
        """(B, T) token ids -> (B, T, D); `positions` (B, T), if they do not count from 0."""
        weight = self.position_embeddings.weight
        position = weight[: ids.shape[1]] if positions is None else weight[positions]
        out: Tensor = self.LayerNorm(self.word_embeddings(ids) + position)
        return out


def _embedding(rows: int, width: int) -> nn.Embedding:
    """An embedding without initial values. Making them on the meta device has torch import its compiler, for 1.4 s."""
    made: nn.Embedding = nn.Embedding.from_pretrained(  # type: ignore[no-untyped-call]  # torch annotates half of it
        torch.empty(rows, width)
    )
    return made


class Intermediate(nn.Module):
    """The widening half of BERT's feed-forward."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.intermediate_size, config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, inner)."""
        out: Tensor = self.dense(x)
        return out


class TextLayer(nn.Module):
    """Self-attention, cross-attention if images are given, and feed-forward. A norm comes after each."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.attention = SelfAttention(config)
        self.crossattention = CrossAttention(config)
        self.intermediate = Intermediate(config)
        self.output = Dense(config.intermediate_size, config.hidden_size, config.layer_norm_eps)

    def forward(self, x: Tensor, mask: Tensor | None, seen: list[Seen], queries: int, past: Past | None) -> Tensor:
        """(B, T, D) -> (B, queries, D). `mask` and `past`: see `SelfAttention`."""
        x = self.attention(x, mask, queries, past)
        if len(seen) > 0:
            x = self.crossattention(x, seen)
        out: Tensor = self.output(self.intermediate(x), x)
        return out


class TextLayers(nn.Module):
    """The stack of layers."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.layer = cast("list[TextLayer]", nn.ModuleList(TextLayer(config) for _ in range(config.num_hidden_layers)))

    def forward(
        self,
        states: list[Tensor],
        masks: list[Tensor | None],
        groups: list[list[ImageGroup]],
        images: Tensor | None,
        wide: Tensor | None,
        kept: list[list[Tensor]],
        summaries: bool,
    ) -> list[Tensor]:
        """Batches of B rows each, (B, T, D) -> the same shape, or for `summaries` (B, 1, D) of position 0.

        `groups`: the image groups of each batch. `images`: (I, N, D_image). `wide`: those of them that are projected.
        `kept`: what `project` made of each of some others, which wide groups count before these.
        """
        last = len(self.layer) - 1
        for number, layer in enumerate(self.layer):
            made = [image[number] for image in kept]
            if wide is not None:
                made.append(layer.crossattention.project(wide))
            projected: Tensor | None = None
            if len(made) > 0:
                projected = made[0] if len(made) == 1 else torch.cat(made)
            states = [
                layer(
                    states[i],
                    masks[i],
                    seen_by(groups[i], images, projected),
                    1 if summaries and number == last else states[i].shape[1],
                    None,
                )
                for i in range(len(states))
            ]
        return states

    @torch.jit.export
    def read_on(self, x: Tensor, mask: Tensor | None, seen: list[list[Seen]], past: list[Past]) -> Tensor:
        """(B, T, D) new tokens -> (B, T, D). `seen` and `past` are those of each layer; `past` may be empty."""
        for number, layer in enumerate(self.layer):
            x = layer(x, mask, seen[number], x.shape[1], past[number] if len(past) > 0 else None)
        return x

    @torch.jit.export
    def project(self, images: Tensor) -> list[Tensor]:
        """(I, N, D_image) -> each layer's (I, 2 heads, N, D / heads), see `CrossAttention.project`.

        They are made contiguous, since every step reads them again from memory.
        """
        return [layer.crossattention.project(images).contiguous() for layer in self.layer]


class TextTower(nn.Module):
    """From token ids, with or without images, to hidden states."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.positions = config.max_position_embeddings
        self.embeddings = TextEmbeddings(config)
        self.encoder = TextLayers(config)

    def forward(self, rows: BatchedRows, images: Tensor | None = None, kept: Sequence[list[Tensor]] = ()) -> Tensor:
        """B rows in all -> (B, D) hidden states of position 0, in the batches' order.

        The last layer computes only position 0. `images` and `kept`: see `states`.
        """
        return torch.cat([x[:, 0] for x in self.states(rows, images, kept, summaries=True)])

    def states(
        self,
        rows: BatchedRows,
        images: Tensor | None = None,
        kept: Sequence[list[Tensor]] = (),
        summaries: bool = False,
    ) -> list[Tensor]:
        """Batches of B rows each -> (B, T, D) hidden states of each, or for `summaries` (B, 1, D) of position 0.

        `images`: (I, N, D_image) tokens of the images that the rows name. `kept`: what `TextLayers.project` made of
        those that `batch_rows` was told are kept.
        """
        states = [self.embeddings(batch.ids) for batch in rows.batches]
        masks = [None if batch.mask is None else batch.mask[:, None, None, :] for batch in rows.batches]
        groups = [batch.groups for batch in rows.batches]
        wide = None if images is None or rows.wide is None else pick(images, rows.wide)
        found: list[Tensor] = self.encoder(states, masks, groups, images, wide, list(kept), summaries)
        return found


def seen_by(groups: list[ImageGroup], images: Tensor | None, projected: Tensor | None) -> list[Seen]:
    """What a layer's rows attend to. `projected`: the layer's keys and values of the images of wide groups."""
    found: list[Seen] = []
    if images is not None:
        for group in groups:
            if group.wide and projected is not None:
                key, value = pick(projected, group.images).chunk(2, dim=1)
                found.append(Seen(key, value, group.captions))
            else:
                found.append(Seen(pick(images, group.images), None, group.captions))
    return found
