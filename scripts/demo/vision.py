"""The vision tower for training, its parameters named as transformers' BlipVisionModel names them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from demo.attention import attend
from demo.dimensions import Dimensions


class VisionAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)

    def forward(self, hidden: Tensor) -> Tensor:
        query, key, value = self.qkv(hidden).chunk(3, dim=-1)
        out: Tensor = self.projection(attend(query, key, value, self.heads))
        return out


class VisionMLP(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, hidden: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(hidden)))
        return out


class VisionLayer(nn.Module):
    """Normalised before each half."""

    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__()
        self.self_attn = VisionAttention(dimensions.width, dimensions.heads)
        self.layer_norm1 = nn.LayerNorm(dimensions.width, eps=1e-5)
        self.mlp = VisionMLP(dimensions.width, dimensions.vision_inner)
        self.layer_norm2 = nn.LayerNorm(dimensions.width, eps=1e-5)

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = hidden + self.self_attn(self.layer_norm1(hidden))
        out: Tensor = hidden + self.mlp(self.layer_norm2(hidden))
        return out


class VisionEmbeddings(nn.Module):
    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.randn(1, 1, dimensions.width) * 0.02)
        self.patch_embedding = nn.Conv2d(3, dimensions.width, dimensions.patch, dimensions.patch)
        self.position_embedding = nn.Parameter(_sine_positions(dimensions))

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.patch_embedding(pixels).flatten(2).transpose(1, 2)
        hidden = torch.cat([self.class_embedding.expand(len(pixels), -1, -1), patches], dim=1)
        return hidden + self.position_embedding


def _sine_positions(dimensions: Dimensions) -> Tensor:
    """(1, 1 + grid^2, D): sines and cosines of row and column, so that neighbours start alike."""
    steps = torch.arange(dimensions.grid, dtype=torch.float32)
    rates = torch.exp(torch.linspace(0.0, -3.0, dimensions.width // 4))
    waves = torch.cat([torch.sin(steps[:, None] * rates), torch.cos(steps[:, None] * rates)], dim=1)
    rows = waves[:, None, :].expand(-1, dimensions.grid, -1)
    columns = waves[None, :, :].expand(dimensions.grid, -1, -1)
    patches = torch.cat([rows, columns], dim=-1).flatten(0, 1)
    return 0.3 * torch.cat([torch.zeros(1, dimensions.width), patches])[None]


class VisionEncoder(nn.Module):
    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__()
        self.layers = nn.ModuleList(VisionLayer(dimensions) for _ in range(dimensions.vision_layers))


class VisionModel(nn.Module):
    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__()
        self.embeddings = VisionEmbeddings(dimensions)
        self.encoder = VisionEncoder(dimensions)
        self.post_layernorm = nn.LayerNorm(dimensions.width, eps=1e-5)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 1 + patches, D)."""
        hidden = self.embeddings(pixels)
        for layer in self.encoder.layers:
            hidden = layer(hidden)
        out: Tensor = self.post_layernorm(hidden)
        return out
