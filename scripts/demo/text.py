"""The text tower for training, its parameters named as transformers' BlipTextModel names them.

Many texts about one picture share its cross-attention keys and values.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from demo.attention import attend
from demo.dimensions import Dimensions


class Projections(nn.Module):
    """Query, key and value of the text tower's attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)


class Output(nn.Module):
    """Back to the width, added and normalised after."""

    def __init__(self, inner: int, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, inner: Tensor, residual: Tensor) -> Tensor:
        out: Tensor = self.LayerNorm(self.dense(inner) + residual)
        return out


class TextAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.self = Projections(width)
        self.output = Output(width, width)

    def forward(self, hidden: Tensor, source: Tensor, mask: Tensor | None = None) -> Tensor:
        key, value = self.self.key(source), self.self.value(source)
        context = attend(self.self.query(hidden), key, value, self.heads, mask)
        out: Tensor = self.output(context, hidden)
        return out


class Intermediate(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, inner)

    def forward(self, hidden: Tensor) -> Tensor:
        return F.gelu(self.dense(hidden))


class TextLayer(nn.Module):
    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__()
        self.attention = TextAttention(dimensions.width, dimensions.heads)
        self.crossattention = TextAttention(dimensions.width, dimensions.heads)
        self.intermediate = Intermediate(dimensions.width, dimensions.text_inner)
        self.output = Output(dimensions.text_inner, dimensions.width)

    def forward(self, hidden: Tensor, mask: Tensor, source: Tensor | None, source_mask: Tensor | None) -> Tensor:
        hidden = self.attention(hidden, hidden, mask)
        if source is not None:
            # (B*K, T, D) -> (B, K*T, D): the texts of a source ask it together
            together = hidden.reshape(len(source), -1, hidden.shape[-1])
            hidden = self.crossattention(together, source, source_mask).reshape(hidden.shape)
        out: Tensor = self.output(self.intermediate(hidden), hidden)
        return out


class TextEmbeddings(nn.Module):
    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(dimensions.vocabulary, dimensions.width, padding_idx=0)
        self.position_embeddings = nn.Embedding(dimensions.positions, dimensions.width)
        self.LayerNorm = nn.LayerNorm(dimensions.width, eps=1e-12)

    def forward(self, ids: Tensor) -> Tensor:
        positions = self.position_embeddings.weight[: ids.shape[1]]
        out: Tensor = self.LayerNorm(self.word_embeddings(ids) + positions)
        return out


class TextEncoder(nn.Module):
    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__()
        self.layer = nn.ModuleList(TextLayer(dimensions) for _ in range(dimensions.text_layers))


class TextModel(nn.Module):
    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__()
        self.embeddings = TextEmbeddings(dimensions)
        self.encoder = TextEncoder(dimensions)

    def forward(
        self, ids: Tensor, mask: Tensor, source: Tensor | None = None, source_mask: Tensor | None = None
    ) -> Tensor:
        """(B*K, T) ids, what reads them (B, S, D) and masks of 0 and 1 -> (B*K, T, D).

        `mask` is (B*K, T), or (1, T, T) where each place has its own; `source_mask` is (B, S).
        """
        blocked = _blocked(mask)
        source_blocked = None if source_mask is None else _blocked(source_mask)
        hidden: Tensor = self.embeddings(ids)
        for layer in self.encoder.layer:
            hidden = layer(hidden, blocked, source, source_blocked)
        return hidden


def _blocked(mask: Tensor) -> Tensor:
    """What is added to the scores of attention: nothing where the mask is 1."""
    added = torch.zeros(mask.shape).masked_fill(mask == 0, -1e9)
    return added[:, None] if mask.ndim == 3 else added[:, None, None]


class Transform(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, hidden: Tensor) -> Tensor:
        out: Tensor = self.LayerNorm(F.gelu(self.dense(hidden)))
        return out


class Predictions(nn.Module):
    """Logits of words; the matrix is that of the embeddings."""

    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__()
        self.transform = Transform(dimensions.width)
        self.bias = nn.Parameter(torch.zeros(dimensions.vocabulary))

    def forward(self, hidden: Tensor, embeddings: Tensor) -> Tensor:
        return F.linear(self.transform(hidden), embeddings, self.bias)


class TextDecoder(nn.Module):
    """Says the next word from those before it and from what it reads."""

    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__()
        self.bert = TextModel(dimensions)
        self.cls = nn.ModuleDict({"predictions": Predictions(dimensions)})

    def forward(self, ids: Tensor, source: Tensor, source_mask: Tensor | None = None) -> Tensor:
        """(B*K, T) ids, padded on the right, and (B, S, D) -> (B*K, T, V) logits of the next ids."""
        earlier = torch.ones(1, ids.shape[1], ids.shape[1]).tril()
        hidden = self.bert(ids, earlier, source, source_mask)
        out: Tensor = self.cls["predictions"](hidden, self.bert.embeddings.word_embeddings.weight)
        return out
