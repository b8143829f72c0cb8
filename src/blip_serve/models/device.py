"""The one device of the process: which it is, its number type, its memory and its faults."""

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from blip_serve.errors import ConfigurationError, DeviceLost, OutOfMemory
from blip_serve.settings import Settings

QUOTA_FILES = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))
"""Where a container sees its CPU limit: microseconds of CPU time a period of so many, in cgroups v2 and v1."""
NO_MEMORY = (
    "DefaultCPUAllocator: can't allocate memory",
    "std::bad_alloc",  # what TorchScript makes of a `MemoryError`
    "error: out of memory",  # CUDA's runtime or driver, asked by another than torch's allocator: for pinned memory, say
    "CUBLAS_STATUS_ALLOC_FAILED",  # cuBLAS's and cuBLASLt's handles and workspaces
    "CUDNN_STATUS_ALLOC_FAILED",
    "ALLOCATION_FAILED",  # cuDNN 9: CUDNN_STATUS_INTERNAL_ERROR_{HOST,DEVICE}_ALLOCATION_FAILED
    "unable to find an engine to execute this computation",  # a convolution none of whose plans got its workspace
)
"""What torch's `RuntimeError`s say that are for want of memory and have no class of their own."""


def cores(cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """CPU threads worth having: torch's, one a core or `OMP_NUM_THREADS`, but no more than the container has cores.

    Of a limit that is not whole the part counts as a core, as the JVM and Go have it. With more threads, those that
    wait for others use up the limit, and then all stand still until the period ends.
    """
    threads = torch.get_num_threads()
    for names in QUOTA_FILES:
        with suppress(OSError, ValueError):  # no such file, or no limit: "max", and -1 in v1
            quota, period = (int(each) for name in names for each in (cgroups / name).read_text().split())
            return min(threads, max(1, math.ceil(quota / period))) if quota > 0 else threads
    return threads


THREADS = cores()
"""Asked for once, before a small model has torch compute by one."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A tensor on its way to the host."""

    tensor: Tensor
    arrived: torch.cuda.Event | None

    def wait(self) -> Tensor:
        """The tensor, once it is here; later work of the device is not waited for."""
        if self.arrived is not None:
            self.arrived.synchronize()
        return self.tensor


@dataclass(frozen=True, slots=True)
class Device:
    """Where and in what type a model computes; on a CPU, by how many threads."""

    kind: torch.device
    dtype: torch.dtype
    threads: int = THREADS

    @property
    def depth(self) -> int:
        """Launches worth having under way: CUDA runs behind the host, a CPU does not."""
        return 2 if self.kind.type == "cuda" else 1

    @property
    def images_at_once(self) -> int:
        """Images worth passing through a vision tower together: four fill a CPU, and their activations stay small."""
        return 64 if self.kind.type == "cuda" else 4

    @property
    def fuses(self) -> bool:
        """Whether oneDNN's fused layers are worth their while: in float32 they are not."""
        return self.kind.type == "cpu" and self.dtype is torch.bfloat16 and _multiplies_bfloat16()

    @property
    def tiles(self) -> bool:
        """Whether the CPU multiplies bfloat16 in tiles (AMX), rather than in vectors only (AVX512-BF16)."""
        return _can("amx_bf16")

    @property
    def folded(self) -> int:
        """Tokens of text a step up to which an image is attended to as it is; beyond, projecting it first is faster.

        On 2 cores at 384 px the two are equal near 30 tokens in bfloat16 with tiles, and near 65 without them and in
        float32; on CUDA it was not measured.
        """
        return 64 if self.kind.type == "cpu" and not (self.fuses and self.tiles) else 32

    @property
    def scripts(self) -> bool:
        """Whether layers compute in TorchScript. Faults of CUDA would lose their class there; Python 3.14 has none."""
        return self.kind.type == "cpu" and sys.version_info < (3, 14)

    def memory(self) -> int:
        """Bytes the device's allocator holds; 0 on a CPU."""
        return torch.cuda.memory_reserved(self.kind) if self.kind.type == "cuda" else 0

    def upload(self, tensor: Tensor) -> Tensor:
        """A host tensor on the device; on CUDA by way of pinned memory, so that nothing waits for the copy."""
        if self.kind.type == "cuda":
            return tensor.pin_memory().to(self.kind, non_blocking=True)
        return tensor

    def to_host(self, tensor: Tensor) -> Pending:
        """Starts bringing a tensor to the host.

        Who waits for it sleeps until CUDA interrupts, which is tens of microseconds later than a waiter that polls
        would know, and leaves the core to the threads that decode; where two launches are under way, CUDA has work
        meanwhile.
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
        """Takes as many threads as the model is to have, and turns the device's faults into the domain's.

        `OutOfMemory` is passing: torch's allocator has emptied its cache and tried again by then, and for the libraries
        that ask CUDA themselves it is emptied here. Any other fault of the accelerator itself is `DeviceLost`: nothing
        on it works any more until the process starts anew.
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


def _lacks_memory(error: Exception) -> bool:
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or any(sign in str(error) for sign in NO_MEMORY)


def open_device(settings: Settings) -> Device:
    """The device the settings ask for. Raises `ConfigurationError` where it is not there.

    CUDA's float32 is made float32: cuDNN's convolutions are TF32 by default, which has float16's ten bits of mantissa.
    Who wants speed asks for sixteen bits.
    """
    cuda = torch.cuda.is_available()
    if settings.device == "cuda" and not cuda:
        raise ConfigurationError("device: cuda asked for, but PyTorch sees no CUDA device")
    threads = settings.threads or THREADS
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]  # it replaces its own module
    kind = "cuda" if cuda and settings.device != "cpu" else "cpu"
    return Device(torch.device(kind), _dtype(settings.dtype, kind), threads)


def _dtype(asked: str, kind: str) -> torch.dtype:
    if asked != "auto":
        dtype: torch.dtype = getattr(torch, asked)
        return dtype
    if kind == "cuda":
        return torch.float16
    return torch.bfloat16 if _multiplies_bfloat16() else torch.float32


def _multiplies_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 itself (AMX or AVX512-BF16); emulated, it is slower than float32."""
    return _can("amx_bf16") or _can("avx512_bf16")


@cache
def _can(capability: str) -> bool:
    """Whether the CPU has it. Asked for in every step."""
    return bool(torch.cpu.get_capabilities().get(capability))
