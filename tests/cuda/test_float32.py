"""Float32 is float32, not TF32, in products and in convolutions, however torch was set before."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from blip_serve.models.device import Device, open_device
from blip_serve.settings import Settings

BACKENDS: list[Any] = [
    torch.backends.cuda.matmul,
    torch.backends.cudnn.conv,  # type: ignore[attr-defined]  # it replaces its own module
]
TF32 = 2**-11
"""What rounding a number to TF32 changes of it at most; float32's is 2**-24."""


@pytest.fixture
def opened(device: str) -> Iterator[Device]:
    """The device as the service opens it, in a process that asked for TF32 everywhere."""
    before = [backend.fp32_precision for backend in BACKENDS]
    for backend in BACKENDS:
        backend.fp32_precision = "tf32"
    yield open_device(Settings(device="cuda" if device == "cuda" else "cpu", dtype="float32"))
    for backend, precision in zip(BACKENDS, before, strict=True):
        backend.fp32_precision = precision


def error(found: torch.Tensor, exact: torch.Tensor) -> float:
    """The mean difference, in shares of the mean number."""
    return float((found.cpu().double() - exact).abs().mean() / exact.abs().mean())


def test_torch_is_told(opened: Device) -> None:
    assert [backend.fp32_precision for backend in BACKENDS] == ["ieee", "ieee"]


def test_a_product_is_not_rounded_to_tf32(opened: Device) -> None:
    x, weight = torch.randn(512, 768), torch.randn(768, 768)
    found = F.linear(x.to(opened.kind), weight.to(opened.kind))
    assert error(found, F.linear(x.double(), weight.double())) < TF32 / 100


def test_a_convolution_is_not_rounded_to_tf32(opened: Device) -> None:
    """The patch embedding's shapes."""
    pixels, weight = torch.randn(2, 3, 384, 384), torch.randn(768, 3, 16, 16)
    found = F.conv2d(pixels.to(opened.kind), weight.to(opened.kind), stride=16)
    assert error(found, F.conv2d(pixels.double(), weight.double(), stride=16)) < TF32 / 100
