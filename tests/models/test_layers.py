"""oneDNN's fused layers against plain ones; where the CPU does not multiply bfloat16 they are not used."""

import pytest
import torch
from torch.nn import functional as F

from blip_serve.models.device import Device
from blip_serve.models.layers import ACTIVATIONS, SLOW_FROM, SLOW_TO, DotProductAttention, Linear

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
@pytest.mark.parametrize("tiles", [True, False])
@pytest.mark.parametrize(("inner", "width"), [(32, 64), (64, 32)])
@pytest.mark.parametrize("rows", [1, 5, SLOW_FROM + 1, SLOW_TO - 1, SLOW_TO + 8])
def test_a_fused_layer_is_the_plain_one(
    inner: int, width: int, activation: str | None, reorder: bool, tiles: bool, rows: int
) -> None:
    made = layer(inner, width, activation, reorder)
    x = torch.randn(1, rows, inner).to(torch.bfloat16)
    plain = made(x)
    made.fuse(tiles, threads=1)
    fused = made(x)
    assert fused.shape == plain.shape
    assert torch.allclose(fused.float(), plain.float(), atol=0.02, rtol=0.02)


@pytest.mark.parametrize(
    ("reorder", "tiles", "kept"), [(True, True, False), (False, True, True), (False, False, False)]
)
def test_a_reordered_weight_is_not_kept_twice(reorder: bool, tiles: bool, kept: bool) -> None:
    made = layer(32, 64, None, reorder)
    made.fuse(tiles, threads=1)
    assert hasattr(made, "weight") is kept


@pytest.mark.parametrize("tiles", [True, False])
@pytest.mark.parametrize(("rows", "queries", "keys"), [(1, 1, 20), (1, 1, 577), (4, 10, 10), (2, 97, 577)])
@pytest.mark.parametrize("masked", [True, False])
def test_attention_is_torchs(rows: int, queries: int, keys: int, masked: bool, tiles: bool) -> None:
    torch.manual_seed(0)
    query = torch.randn(rows, 12, queries, 64)
    key, value = torch.randn(rows, 24, keys, 64).chunk(2, dim=1)
    mask = torch.arange(keys) < torch.arange(1, rows + 1)[:, None, None, None] * (keys // rows) if masked else None
    wanted = F.scaled_dot_product_attention(query, key, value, mask)
    attend = DotProductAttention()
    attend.fuse(tiles, threads=1)
    found = attend(query.bfloat16(), key.bfloat16(), value.bfloat16(), mask)
    assert found.dtype is torch.bfloat16
    assert torch.allclose(found.float(), wanted, atol=0.03, rtol=0.03)


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
