"""The layers that both towers are made of. Parameters have the names of the checkpoint.

The code must be valid TorchScript as well as Python; `weights.load_weights` says when it is compiled.
"""

import sys
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ACTIVATIONS = {
    "gelu": ("gelu", "none"),
    "gelu_new": ("gelu", "tanh"),
    "gelu_pytorch_tanh": ("gelu", "tanh"),
    "relu": ("relu", ""),
    "silu": ("swish", ""),
}
"""From `hidden_act` to oneDNN's post-operation and its algorithm. The Salesforce checkpoints all have "gelu"."""
SLOW_FROM, SLOW_PLAIN_FROM, SLOW_TO = 448, 640, 1400
"""Numbers of rows between which oneDNN is slow: from the first (or the second, for a plain weight) to the third.

There it leaves one of two cores idle in layers that do not widen, and computes 1.2 instead of 2.3 TFLOP/s (768 to 768
and 3072 to 768, bfloat16, AMX). Multiplied in parts of fewer rows, it does not.
"""
WORTH_PRODUCTS = 2**17
"""From this many numbers in the queries, times keys, attention by products is faster on a CPU without tiles."""
SCORES_A_THREAD = 2**19
"""Queries times keys that a thread computes at once. Their scores are a megabyte, and stay in the core's cache."""


def activate(x: Tensor, activation: str | None) -> Tensor:
    """Applies one of `ACTIVATIONS`; `None` leaves `x` as it is."""
    if activation is None:
        return x
    if activation == "gelu":
        return F.gelu(x)
    if activation == "relu":
        return F.relu(x)
    if activation == "silu":
        return F.silu(x)
    return F.gelu(x, approximate="tanh")


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, T, D) -> (B, heads, T, D / heads)."""
    return x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, heads, T, D / heads) -> (B, T, D)."""
    return x.transpose(1, 2).flatten(-2)


class Linear(nn.Module):
    """A linear layer, with an activation after it or none.

    `fuse` makes it one oneDNN operation, bias and activation included, for CPUs that multiply bfloat16. Its weight is
    then stored in oneDNN's own order, except with `reorder` False on CPUs with tiles. CPUs without tiles are 1.1 to 1.9
    times as fast with that order in every layer, and have no slow numbers of rows (bfloat16, Zen 5).
    """

    def __init__(self, inner: int, width: int, activation: str | None = None, reorder: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, inner))
        self.bias = nn.Parameter(torch.empty(width))
        self._activation = activation
        self._reorder = reorder
        self._rows = SLOW_FROM if reorder else SLOW_PLAIN_FROM  # multiplied at once where more are slow
        self._slow_from = sys.maxsize if width > inner else inner * self._rows
        self._slow_to = inner * SLOW_TO
        self._fused: Tensor | None = None
        self._behind, self._algorithm = ACTIVATIONS[activation] if activation else ("none", "")

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor) -> Self:
        """A layer with this (width, inner) weight and this (width,) bias."""
        with torch.device("meta"):
            made = cls(weight.shape[1], weight.shape[0])
        made.weight = nn.Parameter(weight, requires_grad=False)
        made.bias = nn.Parameter(bias, requires_grad=False)
        return made

    @classmethod
    def join(cls, parts: "Sequence[Linear]") -> Self:
        """One layer in place of several that have the same input. Its output is theirs, concatenated."""
        return cls.of(torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts]))

    def fuse(self, tiles: bool, threads: int) -> None:
        """See the class. For `tiles` and `threads` see `Device`."""
        self._fused = self.weight.detach()
        if not tiles:
            self._slow_from = sys.maxsize
        if self._reorder or not tiles:
            self._fused = torch.ops.mkldnn._reorder_linear_weight(self._fused)
            del self.weight

    def forward(self, x: Tensor) -> Tensor:
        """(..., inner) -> (..., width)."""
        weight = self._fused
        if weight is None:
            return activate(F.linear(x, self.weight, self.bias), self._activation)
        if self._slow_from < x.numel() < self._slow_to:
            rows = x.flatten(0, -2)
            parts = rows.tensor_split(-(-len(rows) // self._rows))
            found = torch.cat([self._multiply(part, weight) for part in parts])
            return found.view(x.shape[:-1] + found.shape[-1:])
        return self._multiply(x, weight)

    def _multiply(self, x: Tensor, weight: Tensor) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, self.bias, self._behind, [], self._algorithm)
        return out


class DotProductAttention(nn.Module):
    """softmax(Q K^T / sqrt(D)) V, by torch's fused attention.

    `fuse` is for CPUs that multiply bfloat16 without tiles. It computes the products by oneDNN and the softmax apart:
    torch's attention, which uses MKL there, takes 2 to 3 times as long (577 tokens: 7.8 instead of 3.2 ms, bfloat16,
    Zen 5). With many queries it takes some heads at a time, which saves the tower up to 5% on four images.
    """

    def __init__(self) -> None:
        super().__init__()
        self._products_from = sys.maxsize
        self._scores = sys.maxsize

    def fuse(self, tiles: bool, threads: int) -> None:
        """See the class. For `tiles` and `threads` see `Device`."""
        if not tiles:
            self._products_from = WORTH_PRODUCTS
            self._scores = SCORES_A_THREAD * threads

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, heads, T, D) and keys and values (B, heads, S, D) -> (B, heads, T, D).

        `mask`, broadcast to (B, heads, T, S), is true where a position may be attended to.
        """
        if query.numel() * key.shape[-2] < self._products_from:
            return F.scaled_dot_product_attention(query, key, value, mask)
        scale, heads = query.shape[-1] ** -0.5, query.shape[1]
        at_once = max(1, self._scores // (query.shape[-2] * key.shape[-2]))
        if heads <= at_once:  # few queries: copying the keys would cost more than it gains
            return torch.matmul(_scores(query * scale, key, mask).softmax(dim=-1), value)
        query = query.clone(memory_format=torch.contiguous_format).mul_(scale)
        queries, keys, values = [torch.split(x.contiguous().flatten(0, 1), at_once) for x in (query, key, value)]
        masks = None if mask is None else torch.split(mask.expand(len(query), heads, -1, -1).flatten(0, 1), at_once)
        found: list[Tensor] = []
        for i in range(len(queries)):
            scores = _scores(queries[i], keys[i], None if masks is None else masks[i])
            # oneDNN's softmax: for 3 heads of an image 0.15 ms instead of 0.26, and 0.21 with the copies
            shares = scores.to_mkldnn().softmax(dim=-1).to_dense()
            found.append(torch.matmul(shares, values[i]))
        return torch.cat(found).view_as(query)


def _scores(query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
    """Q K^T of (..., T, D) and (..., S, D), with minus infinity where the mask is false."""
    scores = torch.matmul(query, key.transpose(-2, -1))
    return scores if mask is None else scores.masked_fill(~mask, float("-inf"))


class Dense(nn.Module):
    """A linear layer and the norm after it, as BERT nests them (`dense`, `LayerNorm`)."""

    def __init__(self, inner: int, width: int, eps: float) -> None:
        super().__init__()
        self.dense = Linear(inner, width)
        self.LayerNorm = nn.LayerNorm(width, eps=eps)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """(B, T, inner) and the residual (B, T, width) -> (B, T, width)."""
        out: Tensor = self.LayerNorm(self.dense(x) + residual)
        return out
