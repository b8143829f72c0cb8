"""The vision tower alone: images a second by batch, beside the fastest that the card multiplies its matrices."""

import shutil
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from bench.machine import MatmulPeak, synchronise
from bench.rows.vision import tower_flops, tower_shapes
from gpu.place import Place
from gpu.rows import Row, median_ms

BATCHES = {True: (1, 4, 16, 64, 256), False: (1, 4)}
ROUNDS = 5
COMPILED = {True: 64, False: 4}
"""Images a batch of the compiled tower."""


def rows(place: Place) -> Iterator[Row]:
    """A row for each batch. The tower and its matrices take turns, so that what slows one slows both."""
    tower = _tower(place)
    for batch in BATCHES[place.on_card]:
        peak = MatmulPeak(tower_shapes(place.vision("retrieval"), batch), place.dtype, place.device)
        pixels = _pixels(place, batch)
        taken = []
        for _ in range(ROUNDS + 1):
            taken.append(_seconds(place, tower, pixels))
            peak.measure()
        whole, launching = (median_ms(each) for each in zip(*taken[1:], strict=True))
        reached = batch * tower_flops(place.vision("retrieval")) / whole * 1000
        note = f"{reached / peak.flops:.0%} of the matmul peak at that batch, {peak.flops / 1e12:.3g} TFLOP/s"
        yield Row("vision tower, images", place.name("retrieval"), batch, whole, launching, note=note)


def compiled(place: Place) -> Iterator[Row]:
    """The tower with its blocks compiled (`torch.compile`), beside the same uncompiled; none without a compiler."""
    if not _compiles(place):
        print("torch.compile is not measured: no C compiler, or no triton for the card", flush=True)
        return
    batch, model = COMPILED[place.on_card], place.load("retrieval")
    tower = torch.inference_mode()(model.network.vision_model)
    pixels = _pixels(place, batch)
    plain, _ = _median(place, tower, pixels)
    for block in model.network.vision_model.encoder.layers:
        block.compile()
    whole, launching = _median(place, tower, pixels)
    note = f"{plain / whole:.2f} times as fast as uncompiled"
    yield Row("vision tower, blocks compiled, images", place.name("retrieval"), batch, whole, launching, note=note)


def _compiles(place: Place) -> bool:
    compiler = shutil.which("gcc") and shutil.which("g++")
    return bool(compiler) and (not place.on_card or find_spec("triton") is not None)


def _tower(place: Place) -> Callable[[Tensor], Tensor]:
    """(B, 3, S, S) normalised pixels -> (B, 1 + patches, D), as the service loads it."""
    network: Any = place.load("retrieval").network
    tower: Callable[[Tensor], Tensor] = torch.inference_mode()(network.vision_model)
    return tower


def _pixels(place: Place, batch: int) -> Tensor:
    side = place.vision("retrieval")["image_size"]
    return torch.randn(batch, 3, side, side, device=place.device).to(place.dtype)


def _median(place: Place, tower: Callable[[Tensor], Tensor], pixels: Tensor) -> tuple[float, float]:
    """Milliseconds of a call, after one that is not timed, and of its launch."""
    taken = [_seconds(place, tower, pixels) for _ in range(ROUNDS + 1)][1:]
    whole, launching = zip(*taken, strict=True)
    return median_ms(whole), median_ms(launching)


def _seconds(place: Place, tower: Callable[[Tensor], Tensor], pixels: Tensor) -> tuple[float, float]:
    synchronise(place.device)
    started = time.perf_counter()
    tower(pixels)
    launched = time.perf_counter()
    synchronise(place.device)
    return time.perf_counter() - started, launched - started
