"""oneDNN's fused layers against plain ones; where the CPU does not multiply bfloat16 they are not used."""

import pytest
import torch

from blip_serve.models.device import Device
from blip_serve.models.layers import ACTIVATIONS, SLOW_FROM, SLOW_TO, Linear

BFLOAT16 = Device(torch.device("cpu"), torch.bfloat16)
pytestmark = pytest.mark.skipif(not BFLOAT16.fuses, reason="this CPU does not multiply bfloat16")


def layer(inner: int, width: int, activation: str | None, reorder: bool) -> Linear:
    torch.manual_seed(0)
    made = Linear(inner, width, activation, reorder)
    torch.nn.init.normal_(made.weight, std=0.1)
    torch.nn.init.normal_(made.bias)
    return made.to(torch.bfloat16).requires_grad_(False)


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
@pytest.mark.parametrize("reorder", [True, False])
@pytest.mark.parametrize(("inner", "width"), [(32, 64), (64, 32)])
@pytest.mark.parametrize("rows", [1, 5, SLOW_FROM + 1, SLOW_TO - 1, SLOW_TO + 8])
def test_a_fused_layer_is_the_plain_one(
    inner: int, width: int, activation: str | None, reorder: bool, rows: int
) -> None:
    made = layer(inner, width, activation, reorder)
    x = torch.randn(1, rows, inner).to(torch.bfloat16)
    plain = made(x)
    made.fuse()
    fused = made(x)
    assert fused.shape == plain.shape
    assert torch.allclose(fused.float(), plain.float(), atol=0.02, rtol=0.02)


def test_a_reordered_weight_is_not_kept_twice() -> None:
    made = layer(32, 64, None, reorder=True)
    made.fuse()
    assert not hasattr(made, "weight")


@pytest.mark.parametrize(
    ("device", "fuses"),
    [
        (Device(torch.device("cpu"), torch.float32), False),
        (Device(torch.device("cpu"), torch.float16), False),
        (Device(torch.device("cuda"), torch.bfloat16), False),
    ],
)
def test_only_bfloat16_on_a_cpu_is_fused(device: Device, fuses: bool) -> None:
    assert device.fuses is fuses
