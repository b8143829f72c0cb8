"""What the tokens of texts attend to: the text tower layer by layer, with the shares of its cross-attention kept.

The serving towers do not show their shares, since fused attention never has them as a whole.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from blip_serve.models.attention import CrossAttention, Seen
from blip_serve.models.text import TextTower, seen_by
from blip_serve.models.text_batches import BatchedRows, TextBatch, pick


@dataclass(frozen=True, slots=True)
class Attended:
    """A batch of texts read by a tower: their `states`, and the `shares` of the layers asked for.

    `states` (B, T, D). `shares`: for each layer asked for, and each group of images, (I, heads, rows T, N).
    """

    batch: TextBatch
    states: Tensor
    shares: Sequence[Sequence[Tensor]]

    def maps(self, logits: Tensor | None = None) -> list[Tensor]:
        """For each layer asked for, the mean of the heads' shares, (B, T, N).

        With the `logits` (B,) that came of the texts, each share is first multiplied with the positive part of its
        gradient: Grad-CAM as in salesforce/LAVIS:lavis/models/blip_models/blip_image_text_matching.py, compute_gradcam.
        """
        if logits is None:
            return [self._joined(layer) for layer in self.shares]
        gradients = iter(torch.autograd.grad(logits.sum(), [share for layer in self.shares for share in layer]))
        return [
            self._joined([share.detach() * next(gradients).clamp(min=0) for share in layer]) for layer in self.shares
        ]

    def _joined(self, groups: Sequence[Tensor]) -> Tensor:
        """The groups' (I, heads, rows T, N) -> (B, T, N), the mean of the heads."""
        found = torch.cat([group.mean(dim=1).flatten(0, 1) for group in groups])
        return found.view(*self.batch.ids.shape, -1)


def read_batches(
    tower: TextTower,
    rows: BatchedRows,
    images: Tensor,
    layers: Collection[int],
    *,
    gradient: bool = False,
    causal: bool = False,
) -> list[Attended]:
    """Reads texts about `images` (I, N, D_image), keeping the shares of `layers`.

    `gradient`: whether gradients can be asked of them. `causal`: whether each token sees only those before it.
    """
    kept: list[list[list[Tensor]]] = [[] for _ in rows.batches]
    states = [tower.embeddings(batch.ids) for batch in rows.batches]
    masks = [_mask(batch, causal) for batch in rows.batches]
    wide = None if rows.wide is None else pick(images, rows.wide)
    for number, layer in enumerate(tower.encoder.layer):
        projected = None if wide is None else layer.crossattention.project(wide)
        for i, batch in enumerate(rows.batches):
            seen = seen_by(batch.groups, images, projected)
            x = layer.attention(states[i], masks[i], states[i].shape[1], None)
            if number in layers:
                x, shares = look(layer.crossattention, x, seen, gradient=gradient)
                kept[i].append(shares)
            else:
                x = layer.crossattention(x, seen)
            states[i] = layer.output(layer.intermediate(x), x)
    return [Attended(*each) for each in zip(rows.batches, states, kept, strict=True)]


def look(attention: CrossAttention, x: Tensor, seen: Sequence[Seen], *, gradient: bool) -> tuple[Tensor, list[Tensor]]:
    """(B, T, D) -> (B, T, D) as `CrossAttention` gives it, and the shares for each of `seen`."""
    query: Tensor = attention.query(x)
    found, kept = [], []
    for rows, images in zip(torch.split(query, [len(each.key) * each.rows for each in seen]), seen, strict=True):
        shares = attention.shares(rows.reshape(len(images.key), -1, query.shape[-1]), images)
        if gradient and not shares.requires_grad:  # the first layer that is watched
            shares.requires_grad_()
        found.append(attention.weighed(shares, images).view_as(rows))
        kept.append(shares)
    out: Tensor = attention.output(torch.cat(found), x)
    return out, kept


def _mask(batch: TextBatch, causal: bool) -> Tensor | None:
    """(B or 1, 1, 1 or T, T), true where a position may attend. Padding behind a text is not seen by a causal one."""
    if causal:
        length = batch.ids.shape[1]
        return torch.ones(length, length, dtype=torch.bool, device=batch.ids.device).tril()[None, None]
    return None if batch.mask is None else batch.mask[:, None, None, :]
