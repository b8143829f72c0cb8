"""Pieces both towers are made of. Parameters carry the checkpoint's names.

Layers of a text call each other's `forward` by name: on its way there, `nn.Module` asks for hooks, which is 0.4 of the
19 ms of a decode step of one row.
"""

import math
from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
}
"""`hidden_act` of a configuration; the Salesforce checkpoints all say "gelu"."""
ONEDNN_ACTIVATIONS = {
    "gelu": ("gelu", "none"),
    "gelu_new": ("gelu", "tanh"),
    "gelu_pytorch_tanh": ("gelu", "tanh"),
    "relu": ("relu", ""),
    "silu": ("swish", ""),
}
"""The same as oneDNN's post-operations, each with its algorithm."""
SLOW_FROM, SLOW_PLAIN_FROM, SLOW_TO = 448, 640, 1400
"""More rows than the first number (the second, where the weight is not reordered) and fewer than the third.

There oneDNN keeps one of two cores idle in layers that do not widen: 1.2 TFLOP/s in place of 2.3 (768 to 768 and
3072 to 768, bfloat16, AMX). In parts of fewer rows it does not.
"""


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, T, D) -> (B, heads, T, D / heads)."""
    return x.view(*x.shape[:-1], heads, -1).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, heads, T, D / heads) -> (B, T, D)."""
    return x.transpose(1, 2).flatten(-2)


class Linear(nn.Module):
    """A linear layer, and the activation behind it where there is one.

    `fuse` makes it one operation of oneDNN, bias and activation included, for CPUs that multiply bfloat16; its weight
    is then in oneDNN's own order, unless `reorder` says otherwise.
    """

    def __init__(self, inner: int, width: int, activation: str | None = None, reorder: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, inner))
        self.bias = nn.Parameter(torch.empty(width))
        self._activation = activation
        self._reorder = reorder
        self._rows = SLOW_FROM if reorder else SLOW_PLAIN_FROM  # at once, where more are slow
        self._slow_from = math.inf if width > inner else inner * self._rows
        self._fused: Tensor | None = None

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

    def fuse(self) -> None:
        """See the class. What a call needs is looked up here: with one row, that takes a tenth of the call's time."""
        self._onednn = torch.ops.mkldnn._linear_pointwise.default
        name, algorithm = ONEDNN_ACTIVATIONS[self._activation] if self._activation else ("none", "")
        scalars: list[float] = []
        self._behind = self.bias, name, scalars, algorithm
        self._fused = self.weight.detach()
        if self._reorder:
            self._fused = torch.ops.mkldnn._reorder_linear_weight(self._fused)
            del self.weight

    def forward(self, x: Tensor) -> Tensor:
        """(..., inner) -> (..., width)."""
        if self._fused is None:
            out = F.linear(x, self.weight, self.bias)
            return ACTIVATIONS[self._activation](out) if self._activation else out
        if x.numel() > self._slow_from and (rows := x.shape[:-1].numel()) < SLOW_TO:
            parts = x.reshape(rows, -1).tensor_split(-(-rows // self._rows))
            found = [self._onednn(part, self._fused, *self._behind) for part in parts]
            return torch.cat(found).view(*x.shape[:-1], -1)
        fused: Tensor = self._onednn(x, self._fused, *self._behind)
        return fused


class Dense(nn.Module):
    """A linear layer and the norm after it, as BERT nests them (`dense`, `LayerNorm`)."""

    def __init__(self, inner: int, width: int, eps: float) -> None:
        super().__init__()
        self.dense = Linear(inner, width)
        self.LayerNorm = nn.LayerNorm(width, eps=eps)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """(B, T, inner) and the residual (B, T, width) -> (B, T, width)."""
        norm = self.LayerNorm
        return torch.layer_norm(
            self.dense.forward(x) + residual, norm.normalized_shape, norm.weight, norm.bias, norm.eps
        )
