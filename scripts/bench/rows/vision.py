"""The vision tower alone, beside the fastest that its own matrices are multiplied on this machine."""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from bench.bench import MODEL, Bench
from bench.checkpoints import SIZES, SizeName
from bench.machine import MatmulPeak, synchronise
from bench.sides.card import CardMatcher
from blip_serve.catalogue import ModelCard
from blip_serve.loading import CheckpointLoader
from blip_serve.settings import LogSettings, ModelSettings, Settings
from blip_serve.telemetry import Telemetry

Shape = tuple[int, int, int]
BATCHES: dict[str, dict[SizeName, tuple[int, ...]]] = {
    "cpu": {"base": (1, 4, 16), "large": (1, 4)},
    "cuda": {"base": (1, 4, 16, 64, 256), "large": (1, 4, 16, 64, 256)},
}
QUICK_BATCHES = 2
REPEATS: dict[SizeName, int] = {"base": 4, "large": 2}
NEAR = 0.05
"""How far, relatively, tokens in sixteen bits may be from transformers' in float32."""


def run(bench: Bench) -> None:
    """Images a second and the per cent of the peak, by batch."""
    for size in bench.sizes:
        tower = _tower(bench, size)
        _check(bench, size, tower)
        batches = BATCHES[bench.device][size]
        for batch in batches[:QUICK_BATCHES] if bench.quick else batches:
            _measure(bench, size, tower, batch)


def _tower(bench: Bench, size: SizeName) -> Callable[[Tensor], Tensor]:
    """(B, 3, S, S) normalised pixels -> (B, 1 + patches, D), as the service loads it."""
    settings = Settings(**bench.settings(bench.checkpoint(size)), log=LogSettings(level="error"))
    model: ModelSettings = settings.models[0]
    loaded, _ = CheckpointLoader(settings, Telemetry(settings.log)).find(model, ModelCard(MODEL)).load()
    vision: Callable[[Tensor], Tensor] = loaded.network.vision_model  # type: ignore[attr-defined]  # a Matcher
    return torch.inference_mode()(vision)


def _check(bench: Bench, size: SizeName, tower: Callable[[Tensor], Tensor]) -> None:
    pixels = _pixels(bench, size, 2)
    wanted = CardMatcher(bench.checkpoint(size), "float32", bench.device).image_tokens(pixels)
    far = float((tower(pixels).float() - wanted).norm() / wanted.norm())
    if not far < NEAR:
        raise RuntimeError(f"vision, {size}: tokens differ from transformers' by {far:.2%}.")


def _measure(bench: Bench, size: SizeName, tower: Callable[[Tensor], Tensor], batch: int) -> None:
    """The tower and its matrices in turn, so that whatever slows the machine slows both."""
    peak = MatmulPeak(tower_shapes(size, batch), getattr(torch, bench.dtype), bench.device)
    pixels = _pixels(bench, size, batch)
    taken = []
    for _ in range(bench.repeats(REPEATS[size]) + 1):
        taken.append(_seconds(bench, tower, pixels))
        peak.measure()
    del taken[0]
    model = f"{size} {bench.dtype}"
    shares = [100 * batch * tower_flops(size) / each / peak.flops for each in taken]
    bench.add("vision", "tower", "d", model, "images/s", [batch / each for each in taken], batch)
    bench.add("vision", "matmul peak", "torch", model, "TFLOP/s", [peak.flops / 1e12], batch)
    bench.add("vision", "share of the peak", "d", model, "%", shares, batch, "of the matmul peak at that batch")


def _seconds(bench: Bench, tower: Callable[[Tensor], Tensor], pixels: Tensor) -> float:
    synchronise(bench.device)
    started = time.perf_counter()
    tower(pixels)
    synchronise(bench.device)
    return time.perf_counter() - started


def _pixels(bench: Bench, size: SizeName, batch: int) -> Tensor:
    side = SIZES[size].vision["image_size"]
    pixels = torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(batch))
    return pixels.to(bench.device, getattr(torch, bench.dtype))


def tower_shapes(size: SizeName, batch: int) -> list[Shape]:
    """(rows, inner, columns) of the tower's matrix products with weights: patches, projections, feed-forward."""
    vision = SIZES[size].vision
    width, inner, patch = vision["hidden_size"], vision["intermediate_size"], vision["patch_size"]
    patches = (vision["image_size"] // patch) ** 2
    rows = batch * (patches + 1)
    block = [(rows, width, 3 * width), (rows, width, width), (rows, width, inner), (rows, inner, width)]
    return [(batch * patches, 3 * patch * patch, width), *block]


def tower_flops(size: SizeName) -> int:
    """Of all matrix products of one image, attention's included; an addition and a multiplication are two."""
    vision = SIZES[size].vision
    first, *block = (2 * rows * inner * columns for rows, inner, columns in tower_shapes(size, 1))
    tokens = (vision["image_size"] // vision["patch_size"]) ** 2 + 1
    attention = 2 * 2 * tokens * tokens * vision["hidden_size"]
    return first + vision["num_hidden_layers"] * (sum(block) + attention)
