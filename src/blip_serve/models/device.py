"""The device that models compute on: its kind, number type, memory and faults. A process has one."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import torch
from torch import Tensor

from blip_serve import allocator
from blip_serve.cores import CGROUPS, container_limit
from blip_serve.errors import ConfigurationError, DeviceLost, OutOfMemory
from blip_serve.models.kernels import AVX2, CUDA, OTHER, TILES, VECTORS, Kernels
from blip_serve.settings import Settings

NO_MEMORY = (
    "DefaultCPUAllocator: can't allocate memory",
    "std::bad_alloc",  # what a `MemoryError` becomes in TorchScript
    "error: out of memory",  # CUDA's runtime or driver, without torch's allocator: for pinned memory, say
    "CUBLAS_STATUS_ALLOC_FAILED",  # cuBLAS's and cuBLASLt's handles and workspaces
    "CUDNN_STATUS_ALLOC_FAILED",
    "ALLOCATION_FAILED",  # cuDNN 9: CUDNN_STATUS_INTERNAL_ERROR_{HOST,DEVICE}_ALLOCATION_FAILED
    "unable to find an engine to execute this computation",  # a convolution that got no memory for any of its plans
)
"""Parts of the messages of torch's `RuntimeError`s that mean out of memory but have no class of their own."""
MEMORY_FILES = ("memory.max", "memory/memory.limit_in_bytes")
"""Where a container reads its memory limit, in bytes."""


def host_memory(cgroups: Path = CGROUPS) -> int:
    """Bytes of memory: the container's limit, or the machine's memory if that is less or there is no limit."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in MEMORY_FILES:
        with suppress(OSError, ValueError):  # no such file, or no limit: "max"
            return min(memory, int((cgroups / name).read_text()))
    return memory


def cores(cgroups: Path = CGROUPS) -> int:
    """CPU threads to use: torch's (one a core, or `OMP_NUM_THREADS`), but at most the container's cores."""
    threads = torch.get_num_threads()
    return min(threads, container_limit(cgroups) or threads)


THREADS = cores()
"""Read once, before a small model sets torch to one thread."""


class Bfloat16(Enum):
    """What a CPU multiplies bfloat16 by."""

    EMULATED = "float32"  # by torch; slower than float32 itself
    ARM = "Arm's BF16"  # as Graviton 3 has; read in torch's sources, not tried
    VECTORS = "AVX512-BF16"
    TILES = "AMX"


BY_BFLOAT16 = {Bfloat16.VECTORS: VECTORS, Bfloat16.TILES: TILES}
"""The kernels of CPUs that have their own in bfloat16."""


def _has_onednn() -> bool:
    """Whether torch was built with oneDNN."""
    return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]  # torch annotates half of it


def bfloat16_here() -> Bfloat16:
    """What this CPU has and oneDNN may use. `ONEDNN_MAX_CPU_ISA=AVX2`, for one, makes oneDNN refuse bfloat16."""
    found = torch.cpu.get_capabilities()
    ways = {"amx_bf16": Bfloat16.TILES, "avx512_bf16": Bfloat16.VECTORS, "bf16": Bfloat16.ARM}
    by = next((way for name, way in ways.items() if found.get(name)), Bfloat16.EMULATED)
    allowed = _has_onednn() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return by if allowed else Bfloat16.EMULATED


BFLOAT16 = bfloat16_here()
"""Read once, since every step needs it."""
IS_AVX2 = torch.backends.cpu.get_cpu_capability() == "AVX2" and _has_onednn()
"""Whether torch computes by AVX2: this CPU has no AVX-512, or `ATEN_CPU_CAPABILITY` says so. And it has oneDNN."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A tensor on its way to the host."""

    tensor: Tensor
    arrived: torch.cuda.Event | None

    def wait(self) -> Tensor:
        """The tensor, once it has arrived. Does not wait for later work of the device."""
        if self.arrived is not None:
            self.arrived.synchronize()
        return self.tensor


@dataclass(frozen=True, slots=True)
class Device:
    """Where a model computes and in which number type. `threads`, `bfloat16` and `avx2` matter on a CPU only."""

    kind: torch.device
    dtype: torch.dtype
    threads: int = THREADS
    bfloat16: Bfloat16 = BFLOAT16
    avx2: bool = IS_AVX2

    @property
    def depth(self) -> int:
        """Launches to have under way at once: 2 on CUDA, which runs beside the host; 1 on a CPU."""
        return 2 if self.kind.type == "cuda" else 1

    @property
    def kernels(self) -> Kernels:
        """How its layers compute."""
        if self.kind.type == "cuda":
            return CUDA
        if self.dtype is torch.float32 and self.avx2:
            return AVX2
        return BY_BFLOAT16.get(self.bfloat16, OTHER) if self.dtype is torch.bfloat16 else OTHER

    @property
    def scripts(self) -> bool:
        """Whether to compile layers to TorchScript. CUDA errors would lose their class there. Python 3.14 has none."""
        return self.kind.type == "cpu" and sys.version_info < (3, 14)

    @property
    def room(self) -> int:
        """Bytes of memory it has, free or in use."""
        if self.kind.type == "cuda":
            return torch.cuda.get_device_properties(self.kind).total_memory
        return host_memory()

    def memory(self) -> int:
        """Bytes the device's allocator holds; 0 on a CPU."""
        return torch.cuda.memory_reserved(self.kind) if self.kind.type == "cuda" else 0

    def upload(self, tensor: Tensor) -> Tensor:
        """A host tensor on the device. On CUDA it goes through pinned memory, so that nothing waits for the copy."""
        if self.kind.type == "cuda":
            return tensor.pin_memory().to(self.kind, non_blocking=True)
        return tensor

    def to_host(self, tensor: Tensor) -> Pending:
        """Starts bringing a tensor to the host.

        The thread that waits for it sleeps until CUDA's interrupt. Polling would be tens of microseconds faster, but
        would take a core from the threads that decode. With two launches under way, CUDA has work meanwhile.
        """
        if self.kind.type != "cuda":
            return Pending(tensor, None)
        here = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        here.copy_(tensor, non_blocking=True)
        arrived = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # torch annotates only half of it
        arrived.record()
        return Pending(here, arrived)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Sets the model's number of threads, and turns the device's errors into ours.

        After `OutOfMemory` the device still works. Torch's allocator has then emptied its cache and tried again; for
        libraries that ask CUDA themselves, the cache is emptied here. Any other error of the accelerator becomes
        `DeviceLost`: nothing works on it until the process restarts.
        """
        torch.set_num_threads(self.threads)
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if _lacks_memory(error):
                if self.kind.type == "cuda":
                    torch.cuda.empty_cache()
                raise OutOfMemory("The device is out of memory.", retry_after=5) from None
            if isinstance(error, torch.AcceleratorError):
                raise DeviceLost(str(error)) from error
            raise


def give_back() -> None:
    """Returns all freed memory, of the process to the system and of torch's cache to the device."""
    allocator.give_back()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch annotates only half of it
        torch.cuda.empty_cache()


def _lacks_memory(error: Exception) -> bool:
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or any(sign in str(error) for sign in NO_MEMORY)


def open_device(settings: Settings) -> Device:
    """The device that the settings ask for. Raises `ConfigurationError` if it is missing.

    On CUDA, float32 is computed exactly. By default cuDNN's convolutions would use TF32, whose mantissa has ten bits
    like float16's. For speed there are the 16-bit types.
    """
    check_device(settings)
    threads = settings.threads or THREADS
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]  # it replaces its own module
    kind = "cuda" if settings.device != "cpu" and torch.cuda.is_available() else "cpu"
    return Device(torch.device(kind), _dtype(settings.dtype, kind), threads, BFLOAT16, IS_AVX2)


def check_device(settings: Settings) -> None:
    """Raises `ConfigurationError` if the device that the settings ask for is missing."""
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError("device: cuda asked for, but PyTorch sees no CUDA device")


def number_type(settings: Settings) -> str:
    """The number type that models compute in, such as `float32`. Raises as `open_device`."""
    return name_of(open_device(settings).dtype)


def name_of(dtype: torch.dtype) -> str:
    """Such as `float32`."""
    return str(dtype).removeprefix("torch.")


def _dtype(asked: str, kind: str) -> torch.dtype:
    if asked != "auto":
        dtype: torch.dtype = getattr(torch, asked)
        return dtype
    if kind == "cuda":
        return torch.float16
    return torch.float32 if BFLOAT16 is Bfloat16.EMULATED else torch.bfloat16
