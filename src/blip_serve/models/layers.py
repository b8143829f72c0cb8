"""Pieces both towers are made of. Parameters carry the checkpoint's names.

What computes here is TorchScript as well as Python (`weights.load_weights` says where).
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
"""`hidden_act` as oneDNN's post-operation and its algorithm; the Salesforce checkpoints all say "gelu"."""
SLOW_FROM, SLOW_PLAIN_FROM, SLOW_TO = 448, 640, 1400
"""More rows than the first number (the second, where the weight is not reordered) and fewer than the third.

There oneDNN keeps one of two cores idle in layers that do not widen: 1.2 TFLOP/s in place of 2.3 (768 to 768 and
3072 to 768, bfloat16, AMX). In parts of fewer rows it does not.
"""
WORTH_PRODUCTS = 2**17
"""Numbers in the queries times keys from which attention by products is quicker where the CPU has no tiles."""
SCORES_A_THREAD = 2**19
"""Queries times keys that a thread has at once: their scores, a megabyte of them, are read where they were written."""


def activate(x: Tensor, activation: str | None) -> Tensor:
    """One of `ACTIVATIONS`, or nothing."""
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
    """A linear layer, and the activation behind it where there is one.

    `fuse` makes it one operation of oneDNN, bias and activation included, for CPUs that multiply bfloat16; its weight
    is then in oneDNN's own order, unless `reorder` says otherwise for CPUs with tiles. Those without are 1.1 to 1.9
    times as fast with it for every layer, and know no slow number of rows (bfloat16, Zen 5).
    """

    def __init__(self, inner: int, width: int, activation: str | None = None, reorder: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, inner))
        self.bias = nn.Parameter(torch.empty(width))
        self._activation = activation
        self._reorder = reorder
        self._rows = SLOW_FROM if reorder else SLOW_PLAIN_FROM  # at once, where more are slow
        self._slow_from = sys.maxsize if width > inner else inner * self._rows
        self._slow_to = inner * SLOW_TO
        self._fused: Tensor | None = None
        self._behind, self._algorithm = ACTIVATIONS[activation] if activation else ("none", "")

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor) -> Self:
        """Of a (width, inner) weight and a (width,) bias that are there."""
        with torch.device("meta"):
            made = cls(weight.shape[1], weight.shape[0])
        made.weight = nn.Parameter(weight, requires_grad=False)
        made.bias = nn.Parameter(bias, requires_grad=False)
        return made

    @classmethod
    def join(cls, parts: "Sequence[Linear]") -> Self:
        """One layer for several that read the same; its output is theirs, one behind the other."""
        return cls.of(torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts]))

    def fuse(self, tiles: bool, threads: int) -> None:
        """See the class; `tiles` and `threads` as `Device` has them."""
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
    """softmax(Q K^T / sqrt(D)) V, as torch's fused attention computes it.

    `fuse` makes it products of oneDNN and a softmax where the CPU multiplies bfloat16 without tiles: torch's, which has
    MKL multiply there, takes 2 to 3 times as long (577 tokens: 7.8 in place of 3.2 ms, bfloat16, Zen 5). Where
    queries are many, it takes some heads at a time: up to a twentieth less for the tower on four images.
    """

    def __init__(self) -> None:
        super().__init__()
        self._products_from = sys.maxsize
        self._scores = sys.maxsize

    def fuse(self, tiles: bool, threads: int) -> None:
        """See the class; `tiles` and `threads` as `Device` has them."""
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
        if heads <= at_once:  # where queries are few, a copy of the keys would cost more than it gains
            return torch.matmul(_scores(query * scale, key, mask).softmax(dim=-1), value)
        query = query.clone(memory_format=torch.contiguous_format).mul_(scale)
        queries, keys, values = [torch.split(x.contiguous().flatten(0, 1), at_once) for x in (query, key, value)]
        masks = None if mask is None else torch.split(mask.expand(len(query), heads, -1, -1).flatten(0, 1), at_once)
        found: list[Tensor] = []
        for i in range(len(queries)):
            scores = _scores(queries[i], keys[i], None if masks is None else masks[i])
            # oneDNN's softmax: for 3 heads of an image 0.15 in place of 0.26 ms, and 0.21 with the copies
            shares = scores.to_mkldnn().softmax(dim=-1).to_dense()
            found.append(torch.matmul(shares, values[i]))
        return torch.cat(found).view_as(query)


def _scores(query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
    """Q K^T of (..., T, D) and (..., S, D), minus infinity where not attended to."""
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
