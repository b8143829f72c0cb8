"""The machine a benchmark ran on, in words, and the fastest it multiplies matrices."""

import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8")
PACKAGES = ("torch", "transformers", "fastapi", "uvicorn", "litserve", "pillow")


def describe(device: str) -> dict[str, str]:
    """What a reader must know to repeat the figures."""
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
        **{package: version(package) for package in PACKAGES},
    }
    if device == "cuda":
        found["gpu"] = torch.cuda.get_device_name()
    return found


def _field(cpuinfo: str, name: str) -> str:
    match = re.search(rf"^{name}\s*: (.*)$", cpuinfo, re.MULTILINE)
    return match[1] if match else "unknown"


def synchronise(device: str) -> None:
    """Waits for the device to have done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def matmul_peak(shapes: Iterable[tuple[int, int, int]], dtype: torch.dtype, device: str, repeats: int) -> float:
    """FLOP/s: the median over `shapes`, (rows, inner, columns), of the best that `mm` or `linear` reached."""
    return statistics.median(max(_rates(*shape, dtype, device, repeats)) for shape in shapes)


@torch.inference_mode()
def _rates(rows: int, inner: int, columns: int, dtype: torch.dtype, device: str, repeats: int) -> Iterator[float]:
    x = torch.randn(rows, inner, device=device).to(dtype)
    weight = torch.randn(columns, inner, device=device).to(dtype)
    bias = torch.randn(columns, device=device).to(dtype)
    across = weight.t().contiguous()
    ways: list[Callable[[], Tensor]] = [
        lambda: torch.mm(x, across),
        lambda: torch.mm(x, weight.t()),
        lambda: F.linear(x, weight, bias),
    ]
    for way in ways:
        for _ in range(repeats + 2):
            synchronise(device)
            started = time.perf_counter()
            way()
            synchronise(device)
            yield 2 * rows * inner * columns / (time.perf_counter() - started)
