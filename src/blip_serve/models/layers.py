"""The layers that both towers are made of. Parameters have the names of the checkpoint.

The code must be valid TorchScript as well as Python; `weights.load_weights` says when it is compiled.
"""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from blip_serve.models.kernels import NEVER, Kernels

ACTIVATIONS = {
    "gelu": ("gelu", "none"),
    "gelu_new": ("gelu", "tanh"),
    "gelu_pytorch_tanh": ("gelu", "tanh"),
    "relu": ("relu", ""),
    "silu": ("swish", ""),
}
"""From `hidden_act` to oneDNN's post-operation and its algorithm. The Salesforce checkpoints all have "gelu"."""


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

    `tune` has oneDNN compute it where `Kernels` say that it is faster. `reorder`: whether a fused layer's weight is
    stored in oneDNN's own order on every kind of processor.
    """

    def __init__(self, inner: int, width: int, activation: str | None = None, reorder: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, inner))
        self.bias = nn.Parameter(torch.empty(width))
        self._activation = activation
        self._reorder = reorder
        self._few = 0  # numbers up to which oneDNN multiplies by the plain weight
        self._rows = NEVER  # multiplied at once where more are slow
        self._slow_from = self._slow_to = NEVER * inner
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

    def tune(self, kernels: Kernels, threads: int) -> None:
        """See the class. For `threads` see `Device`: one thread gains nothing from `Kernels.few_rows`."""
        width, inner = self.weight.shape
        if not kernels.fused:
            self._few = inner * kernels.few_rows if threads > 1 else 0
            return
        if width <= inner:
            self._rows = kernels.slow_from if self._reorder else kernels.slow_plain_from
            self._slow_from, self._slow_to = inner * self._rows, inner * kernels.slow_to
        self._fused = self.weight.detach()
        if self._reorder or kernels.reorders_all:
            self._fused = torch.ops.mkldnn._reorder_linear_weight(self._fused)
            del self.weight

    def forward(self, x: Tensor) -> Tensor:
        """(..., inner) -> (..., width)."""
        weight = self._fused
        if weight is None:
            if x.numel() <= self._few:
                return self._multiply(x, self.weight)
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

    `tune` has it compute the products by oneDNN and the softmax apart where `Kernels` say that it is faster. With many
    queries it then takes some heads at a time.
    """

    def __init__(self) -> None:
        super().__init__()
        self._products_from = NEVER
        self._scores = NEVER

    def tune(self, kernels: Kernels, threads: int) -> None:
        """See the class. For `threads` see `Device`."""
        self._products_from = kernels.products_from
        self._scores = kernels.scores_a_thread * threads

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
