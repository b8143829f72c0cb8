"""Attention, the one computation that both towers share."""

from __future__ import annotations

from torch import Tensor


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """Attention over (B, T, D) queries and (B, S, D) keys and values; `mask` is added to the (B, 1, 1, S) scores."""
    width = query.shape[-1] // heads
    query, key, value = (
        part.view(part.shape[0], part.shape[1], heads, width).transpose(1, 2) for part in (query, key, value)
    )
    # faster than scaled_dot_product_attention on a CPU at these lengths
    scores = (query * width**-0.5) @ key.transpose(-1, -2)
    if mask is not None:
        scores = scores + mask
    context: Tensor = scores.softmax(dim=-1) @ value
    return context.transpose(1, 2).flatten(2)
