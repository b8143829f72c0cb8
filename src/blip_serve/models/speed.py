"""How fast this device computes, from a short measurement, and what a model should do by that. An estimate."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from blip_serve.models.config import (
    Config,
    VisionConfig,
    block_multiplications,
    is_small,
    pair_multiplications,
)
from blip_serve.models.device import Device
from blip_serve.models.layers import DotProductAttention, Linear
from blip_serve.models.vision import VisionBlock

BLOCK = VisionConfig(384, 16, 768, 3072, 1, 12, 1e-5, "gelu")
"""The block that is measured: one of ViT-B's. Its layers are most of what every model computes."""
TOKENS = 577
TINY = VisionConfig(32, 16, 64, 256, 1, 4, 1e-5, "gelu")
"""A block that takes no time but for being called."""
LEAST = 3
"""Runs that are timed at least, after one that is not."""


@dataclass(frozen=True, slots=True)
class Speed:
    """`rate`: multiplications a second in a model's layers, by `threads`. `overhead`: seconds to call a block of them.

    A small model computes by one thread.
    """

    rate: float
    overhead: float
    threads: int

    def pairs(self, config: Config) -> float:
        """New images with one caption each that a model should match a second, if nothing else runs."""
        blocks = config.vision.num_hidden_layers + 2 * config.text.num_hidden_layers
        rate = self.rate / self.threads if is_small(config) else self.rate
        return 1 / (pair_multiplications(config) / rate + blocks * self.overhead)


def measured(device: Device, seconds: float) -> Speed:
    """Measures for about so many seconds, more if the device is slow."""
    images = 1 if device.kind.type == "cpu" else 16
    overhead = _timed(TINY, 5, 1, replace(device, threads=1), seconds / 10)
    spent = _timed(BLOCK, TOKENS, images, device, seconds * 9 / 10)
    return Speed(images * block_multiplications(BLOCK, TOKENS) / max(spent - overhead, 1e-9), overhead, device.threads)


def _timed(config: VisionConfig, tokens: int, images: int, device: Device, seconds: float) -> float:
    """The time of a block's call: the shortest, since others may use the machine meanwhile."""
    with device.computing(), torch.inference_mode():
        block = VisionBlock(config).to(device.kind, device.dtype)
        for parameter in block.parameters():
            nn.init.normal_(parameter, std=0.02, generator=torch.Generator(device.kind).manual_seed(0))
        for module in list(block.modules()):
            if isinstance(module, Linear | DotProductAttention):
                module.tune(device.kernels, device.threads)
        x = torch.zeros(images, tokens, config.hidden_size, dtype=device.dtype, device=device.kind)
        return _shortest(lambda: device.to_host(block(x, tokens)[:, :1, :1]).wait(), seconds)


def _shortest(call: Callable[[], object], seconds: float) -> float:
    call()
    end, times = time.perf_counter() + seconds, list[float]()
    while len(times) < LEAST or time.perf_counter() < end:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)
