"""The vision tower alone, beside the fastest that its own matrices are multiplied on this machine."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack

import torch
from torch import Tensor

from bench import peer
from bench.bench import MODEL, Bench
from bench.checkpoints import SIZES, SizeName
from bench.machine import MatmulPeak, synchronise
from bench.sides.apart import Apart
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
PEER_BATCHES = (1, 4)
"""Of (o), at base size."""
NEAR = 0.05
INT8 = 0.1
"""How far, relatively, tokens in sixteen bits may be from transformers' in float32; and in int8."""


def run(bench: Bench) -> None:
    """Images a second and the per cent of the peak, by batch."""
    for size in bench.sizes:
        tower = _tower(bench, size)
        batches = BATCHES[bench.device][size]
        with ExitStack() as running:
            peers = {
                dtype: running.enter_context(peer.apart(bench, bench.checkpoint(size), dtype))
                for dtype in (bench.openvino_types if size == "base" else ())
            }
            _check(bench, size, tower, peers)
            for batch in batches[:QUICK_BATCHES] if bench.quick else batches:
                _measure(bench, size, tower, peers if batch in PEER_BATCHES else {}, batch)


def _tower(bench: Bench, size: SizeName) -> Callable[[Tensor], Tensor]:
    """(B, 3, S, S) normalised pixels -> (B, 1 + patches, D), as the service loads it."""
    settings = Settings(**bench.settings(bench.checkpoint(size)), log=LogSettings(level="error"))
    model: ModelSettings = settings.models[0]
    loaded, _ = CheckpointLoader(settings, Telemetry(settings.log)).find(model, ModelCard(MODEL)).load()
    vision: Callable[[Tensor], Tensor] = loaded.network.vision_model  # type: ignore[attr-defined]  # a Matcher
    return torch.inference_mode()(vision)


def _check(bench: Bench, size: SizeName, tower: Callable[[Tensor], Tensor], peers: Mapping[str, Apart]) -> None:
    """On pictures as (o)'s int8 was calibrated on: other pixels leave the range of its activations."""
    card = CardMatcher(bench.checkpoint(size), "float32", bench.device)
    pixels = card.pixels(bench.pictures.take(2))
    wanted = card.image_tokens(pixels)
    found = {"d": tower(pixels.to(bench.device, getattr(torch, bench.dtype))).float()}
    for dtype, each in peers.items():
        found[f"o {dtype}"] = torch.from_numpy(each.call("image_tokens", pixels.numpy()))
    for side, tokens in found.items():
        far = float((tokens - wanted).norm() / wanted.norm())
        if not far < (INT8 if side.endswith("int8") else NEAR):
            raise RuntimeError(f"vision, {size}: tokens of ({side}) differ from transformers' by {far:.2%}.")


def _measure(
    bench: Bench, size: SizeName, tower: Callable[[Tensor], Tensor], peers: Mapping[str, Apart], batch: int
) -> None:
    """The tower, those of (o) by number type, and its matrices in turn, so that what slows the machine slows all."""
    vision = SIZES[size].vision
    peak = MatmulPeak(tower_shapes(vision, batch), getattr(torch, bench.dtype), bench.device)
    pixels = _pixels(bench, size, batch)
    taken: list[float] = []
    theirs: dict[str, list[float]] = {dtype: [] for dtype in peers}
    given = pixels.float().cpu().numpy()
    for _ in range(bench.repeats(REPEATS[size]) + 1):
        taken.append(_seconds(bench, tower, pixels))
        for dtype, each in peers.items():
            theirs[dtype].append(each.call("seconds", given))
        peak.measure()
    model = f"{size} {bench.dtype}"
    shares = [100 * batch * tower_flops(vision) / each / peak.flops for each in taken[1:]]
    bench.add("vision", "tower", "d", model, "images/s", [batch / each for each in taken[1:]], batch)
    for dtype, seconds in theirs.items():
        bench.add("vision", "tower", "o", f"{size} {dtype}", "images/s", [batch / each for each in seconds[1:]], batch)
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


def tower_shapes(vision: Mapping[str, int], batch: int) -> list[Shape]:
    """(rows, inner, columns) of a tower's matrix products with weights: patches, projections, feed-forward."""
    width, inner, patch = vision["hidden_size"], vision["intermediate_size"], vision["patch_size"]
    patches = (vision["image_size"] // patch) ** 2
    rows = batch * (patches + 1)
    block = [(rows, width, 3 * width), (rows, width, width), (rows, width, inner), (rows, inner, width)]
    return [(batch * patches, 3 * patch * patch, width), *block]


def tower_flops(vision: Mapping[str, int]) -> int:
    """Of all matrix products of one image, attention's included; an addition and a multiplication are two."""
    first, *block = (2 * rows * inner * columns for rows, inner, columns in tower_shapes(vision, 1))
    tokens = (vision["image_size"] // vision["patch_size"]) ** 2 + 1
    attention = 2 * 2 * tokens * tokens * vision["hidden_size"]
    return first + vision["num_hidden_layers"] * (sum(block) + attention)
