"""BLIP's vision tower, a ViT. Parameters are named as in the hub's checkpoints below `vision_model.`.

Layers that widen have reordered weights wherever layers are fused, the others on some CPUs only (`Kernels`).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from blip_serve.models.config import VisionConfig
from blip_serve.models.kernels import NEVER, Kernels
from blip_serve.models.layers import DotProductAttention, Linear, merge_heads, split_heads


class VisionEmbeddings(nn.Module):
    """Patches, the class token before them, and positions."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        width, size, patch = config.hidden_size, config.image_size, config.patch_size
        self.class_embedding = nn.Parameter(torch.empty(1, 1, width))
        self.patch_embedding = nn.Conv2d(3, width, kernel_size=patch, stride=patch)
        self.position_embedding = nn.Parameter(torch.empty(1, (size // patch) ** 2 + 1, width))

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalised pixels -> (B, 1 + patches, D)."""
        patches = self.patch_embedding(pixels).flatten(2).transpose(1, 2)
        return torch.cat([self.class_embedding.expand(len(pixels), -1, -1), patches], dim=1) + self.position_embedding


class VisionAttention(nn.Module):
    """Self-attention with one fused projection."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.qkv = Linear(config.hidden_size, 3 * config.hidden_size)
        self.attend = DotProductAttention()
        self.projection = Linear(config.hidden_size, config.hidden_size, reorder=False)

    def forward(self, x: Tensor, tokens: int) -> Tensor:
        """(B, T, D) -> (B, T, D), attending to the first `tokens`."""
        query, key, value = split_heads(self.qkv(x), 3 * self.heads).chunk(3, dim=1)
        out: Tensor = self.projection(merge_heads(self.attend(query, key[:, :, :tokens], value[:, :, :tokens])))
        return out


class VisionMLP(nn.Module):
    """The feed-forward half of a block."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.fc1 = Linear(config.hidden_size, config.intermediate_size, config.hidden_act)
        self.fc2 = Linear(config.intermediate_size, config.hidden_size, reorder=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        out: Tensor = self.fc2(self.fc1(x))
        return out


class VisionBlock(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = VisionAttention(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = VisionMLP(config)

    def forward(self, x: Tensor, tokens: int) -> Tensor:
        """(B, T, D) -> (B, T, D), attending to the first `tokens`."""
        x = x + self.self_attn(self.layer_norm1(x), tokens)
        out: Tensor = x + self.mlp(self.layer_norm2(x))
        return out


class VisionEncoder(nn.Module):
    """The stack of blocks.

    `tune` has it pad the tokens to a multiple of four where `Kernels` say so. Padding is masked out.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(VisionBlock(config) for _ in range(config.num_hidden_layers))
        self._padded_from = NEVER

    def tune(self, kernels: Kernels, threads: int) -> None:
        """See the class."""
        self._padded_from = kernels.padded_from

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        tokens = x.shape[1]
        if tokens >= self._padded_from:
            x = F.pad(x, (0, 0, 0, -tokens % 4))
        for layer in self.layers:
            x = layer(x, tokens)
        return x[:, :tokens]


class VisionTower(nn.Module):
    """From pixels to token embeddings. The one at position 0 sums up the image."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.embeddings = VisionEmbeddings(config)
        self.encoder = VisionEncoder(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalised pixels -> (B, 1 + patches, D)."""
        out: Tensor = self.post_layernorm(self.encoder(self.embeddings(pixels)))
        return out
