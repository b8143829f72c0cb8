"""What this machine computes by: torch's build, the device and number type that the settings come to, and its speed."""

from dataclasses import dataclass, replace

import torch

from blip_serve.models.device import BFLOAT16, Bfloat16, Device, name_of, open_device
from blip_serve.models.speed import measured
from blip_serve.settings import Settings

SECONDS = 0.3
"""For a rate, on a machine that is not slow."""


@dataclass(frozen=True, slots=True)
class Machine:
    """`why`: the reason for the number type. `rates`: of it and of float32, in GFLOP a second (`models/speed.py`)."""

    build: str
    device: str
    memory: int
    dtype: str
    why: str
    threads: int
    rates: dict[str, float]


def machine(settings: Settings) -> Machine:
    """Measures the machine, in about a second unless it is slow. Raises `ConfigurationError` without the device."""
    device = open_device(settings)
    on_cuda = device.kind.type == "cuda"
    dtype = name_of(device.dtype)
    return Machine(
        build=f"{torch.__version__}, {f'CUDA {torch.version.cuda}' if torch.version.cuda else 'CPU only'}",
        device=torch.cuda.get_device_name(device.kind)
        if on_cuda
        else f"CPU, {torch.backends.cpu.get_cpu_capability()}",
        memory=device.room,
        dtype=dtype,
        why=_why(settings, on_cuda),
        threads=device.threads,
        rates={name: _rate(device, name) for name in dict.fromkeys(("float32", dtype))},
    )


def _why(settings: Settings, on_cuda: bool) -> str:
    if settings.dtype != "auto":
        return "the settings say so"
    if on_cuda:
        return "auto on CUDA"
    if BFLOAT16 is Bfloat16.EMULATED:
        return "auto: this CPU emulates bfloat16"
    return f"auto: this CPU has {BFLOAT16.value}"


def _rate(device: Device, dtype: str) -> float:
    """GFLOP a second: a multiplication and an addition each."""
    return 2 * measured(replace(device, dtype=getattr(torch, dtype)), SECONDS).rate / 1e9
