"""Pieces both towers are made of. Parameters carry the checkpoint's names."""

from collections.abc import Callable

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


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, T, D) -> (B, heads, T, D / heads)."""
    return x.view(*x.shape[:-1], heads, -1).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, heads, T, D / heads) -> (B, T, D)."""
    return x.transpose(1, 2).flatten(-2)


class Dense(nn.Module):
    """A linear layer and the norm after it, as BERT nests them (`dense`, `LayerNorm`)."""

    def __init__(self, inner: int, width: int, eps: float) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, width)
        self.LayerNorm = nn.LayerNorm(width, eps=eps)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """(B, T, inner) and the residual (B, T, width) -> (B, T, width)."""
        out: Tensor = self.LayerNorm(self.dense(x) + residual)
        return out
