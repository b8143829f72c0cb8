"""What a device's faults become."""

import pytest
import torch

from blip_serve.errors import DeviceLost, OutOfMemory
from blip_serve.models.device import Bfloat16, Device, bfloat16_here

CPU = Device(torch.device("cpu"), torch.float32)
CUDA = Device(torch.device("cuda"), torch.float16)
ADVICE = "\nSearch for `cudaErrorMemoryAllocation' in the CUDA runtime's documentation for more information."
NO_MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ..."),
    torch.AcceleratorError(f"CUDA error: out of memory{ADVICE}"),
    RuntimeError("CUDA driver error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasLtMatmul( ltHandle, ...)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
]


@pytest.fixture
def emptied(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """How often CUDA's cache was emptied."""
    calls: list[bool] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append(True))
    return calls


@pytest.mark.parametrize("fault", NO_MEMORY, ids=str)
def test_want_of_memory_is_the_domains_and_frees_what_torch_kept(fault: Exception, emptied: list[bool]) -> None:
    with pytest.raises(OutOfMemory), CUDA.computing():
        raise fault
    assert emptied == [True]


def test_a_cpu_has_no_cache_to_empty(emptied: list[bool]) -> None:
    with pytest.raises(OutOfMemory), CPU.computing():
        raise MemoryError
    assert not emptied


def test_any_other_fault_of_the_accelerator_is_the_end_of_it(emptied: list[bool]) -> None:
    with pytest.raises(DeviceLost, match="illegal memory access"), CUDA.computing():
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
    assert not emptied


@pytest.mark.parametrize("fault", [RuntimeError("shapes cannot be multiplied"), ValueError("a fault of ours")])
def test_a_fault_of_ours_stays_what_it_is(fault: Exception) -> None:
    with pytest.raises(type(fault)) as raised, CUDA.computing():
        raise fault
    assert raised.value is fault


@pytest.mark.parametrize(
    ("has", "by"),
    [
        ((), Bfloat16.EMULATED),
        (("avx2", "avx512_f"), Bfloat16.EMULATED),
        (("avx512_bf16",), Bfloat16.VECTORS),
        (("avx512_bf16", "amx_bf16"), Bfloat16.TILES),
        (("neon", "bf16"), Bfloat16.ARM),
    ],
)
@pytest.mark.parametrize("allowed", [True, False])
def test_a_cpu_multiplies_bfloat16_by_what_it_has_and_onednn_may_use(
    has: tuple[str, ...], by: Bfloat16, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(has, True))
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: allowed)
    assert bfloat16_here() is (by if allowed else Bfloat16.EMULATED)


def test_without_onednn_bfloat16_is_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"bf16": True})
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: pytest.fail("it is not there"))
    assert bfloat16_here() is Bfloat16.EMULATED
