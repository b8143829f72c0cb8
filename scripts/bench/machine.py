"""The machine a benchmark ran on, in words, and the fastest it multiplies matrices."""

import math
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "avx512_vnni", "avx_vnni", "amx_bf16", "amx_int8")
PACKAGES = ("torch", "transformers", "fastapi", "uvicorn", "litserve", "pillow")
TIMES = 3


def describe(device: str, packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """What a reader must know to repeat the figures; `packages` with their versions."""
    cpu = Path("/proc/cpuinfo").read_text()
    flags = set(_field(cpu, "flags").split())
    found = {
        "cpu": _field(cpu, "model name"),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "flags": " ".join(flag for flag in FLAGS if flag in flags),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": platform.platform(),
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }
    if device == "cuda":
        found["gpu"] = torch.cuda.get_device_name()
    return found


def multiplies_sixteen_bits(machine: Mapping[str, str]) -> bool:
    """Whether the machine that `describe` told of multiplies numbers of sixteen bits, as a card does and some CPUs."""
    return "gpu" in machine or not {"avx512_bf16", "amx_bf16"}.isdisjoint(machine["flags"].split())


def _field(cpuinfo: str, name: str) -> str:
    match = re.search(rf"^{name}\s*: (.*)$", cpuinfo, re.MULTILINE)
    return match[1] if match else "unknown"


def synchronise(device: str) -> None:
    """Waits for the device to have done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


class MatmulPeak:
    """The fastest that matrices of some shapes, (rows, inner, columns), are multiplied: by `mm` or by `linear`.

    Or by `mm` with up to three more rows, which count for nothing: oneDNN multiplies 577 rows, a prime number, at 0.65
    TFLOP/s where it multiplies 580 at 0.83.
    """

    def __init__(self, shapes: Sequence[tuple[int, int, int]], dtype: torch.dtype, device: str) -> None:
        self._device = device
        self._best = dict.fromkeys(shapes, 0.0)
        self._ways = {shape: _ways(*shape, dtype, device) for shape in shapes}

    @property
    def flops(self) -> float:
        """FLOP/s: the median over the shapes of the best so far."""
        return statistics.median(self._best.values())

    @torch.inference_mode()
    def measure(self) -> None:
        """Multiplies each shape each way, a few times."""
        for shape, ways in self._ways.items():
            for way in ways * TIMES:
                synchronise(self._device)
                started = time.perf_counter()
                way()
                synchronise(self._device)
                self._best[shape] = max(self._best[shape], 2 * math.prod(shape) / (time.perf_counter() - started))


def _ways(rows: int, inner: int, columns: int, dtype: torch.dtype, device: str) -> list[Callable[[], Tensor]]:
    padded = torch.randn(rows + -rows % 4, inner, device=device).to(dtype)
    x = padded[:rows]
    counts = {rows, len(padded)}
    weight = torch.randn(columns, inner, device=device).to(dtype)
    bias = torch.randn(columns, device=device).to(dtype)
    across = weight.t().contiguous()
    return [
        *(partial(torch.mm, padded[:count], across) for count in sorted(counts)),
        lambda: torch.mm(x, weight.t()),
        lambda: F.linear(x, weight, bias),
    ]
