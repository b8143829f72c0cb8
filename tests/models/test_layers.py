"""oneDNN's fused layers against float64: in float32, which every CPU has, and in bfloat16, emulated where it lacks."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from blip_serve.models.device import Bfloat16, Device
from blip_serve.models.layers import ACTIVATIONS, SLOW_FROM, SLOW_TO, DotProductAttention, Linear, activate
from tests.support.onednn import HAS_BFLOAT16, emulated, multiplying
from tests.support.rounding import of_product, unit

DTYPES = [torch.float32, torch.bfloat16]
STEEPEST = 1.13
"""Slope of the steepest activation: errors before one of them grow by no more."""
APPROXIMATED = 1e-6
"""How exact oneDNN's polynomials for the activations are."""


@pytest.fixture(autouse=True)
def bfloat16() -> Iterator[None]:
    with multiplying(Bfloat16.VECTORS):
        yield


def layer(inner: int, width: int, activation: str | None, reorder: bool, dtype: torch.dtype) -> Linear:
    torch.manual_seed(0)
    made = Linear(inner, width, activation, reorder)
    torch.nn.init.normal_(made.weight, std=0.1)
    torch.nn.init.normal_(made.bias)
    return made.to(dtype).requires_grad_(False)


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
@pytest.mark.parametrize("reorder", [True, False])
@pytest.mark.parametrize("tiles", [True, False])
@pytest.mark.parametrize(("inner", "width"), [(32, 64), (64, 32)])
@pytest.mark.parametrize("rows", [1, 5, SLOW_FROM + 1, SLOW_TO - 1, SLOW_TO + 8])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_fused_layer_rounds_the_exact_one_once(
    inner: int, width: int, activation: str | None, reorder: bool, tiles: bool, rows: int, dtype: torch.dtype
) -> None:
    made = layer(inner, width, activation, reorder, dtype)
    x = torch.randn(1, rows, inner).to(dtype)
    weight, bias, wide = made.weight.double(), made.bias.double(), x.double()
    exact = activate(wide @ weight.T + bias, activation)
    made.fuse(tiles, threads=1)
    fused = made(x)
    assert fused.dtype is dtype
    assert fused.shape == exact.shape
    summed = of_product(inner + 1, wide.abs() @ weight.abs().T + bias.abs())
    assert ((fused - exact).abs() <= STEEPEST * summed + APPROXIMATED + unit(dtype) * exact.abs()).all()


@pytest.mark.parametrize(
    ("reorder", "tiles", "kept"), [(True, True, False), (False, True, True), (False, False, False)]
)
def test_a_reordered_weight_is_not_kept_twice(reorder: bool, tiles: bool, kept: bool) -> None:
    made = layer(32, 64, None, reorder, torch.bfloat16)
    made.fuse(tiles, threads=1)
    assert hasattr(made, "weight") is kept


@pytest.mark.parametrize("tiles", [True, False])
@pytest.mark.parametrize(("rows", "queries", "keys"), [(1, 1, 20), (1, 1, 577), (4, 10, 10), (2, 97, 577)])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_attention_is_the_exact_one(
    rows: int, queries: int, keys: int, masked: bool, tiles: bool, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    query = torch.randn(rows, 12, queries, 64).to(dtype)
    key, value = torch.randn(rows, 24, keys, 64).to(dtype).chunk(2, dim=1)
    mask = torch.arange(keys) < torch.arange(1, rows + 1)[:, None, None, None] * (keys // rows) if masked else None
    scores = query.double() @ key.double().transpose(-2, -1) / 8
    exact, bound = attended(scores if mask is None else scores.masked_fill(~mask, -torch.inf), value.double(), dtype)
    attend = DotProductAttention()
    attend.fuse(tiles, threads=1)
    found = attend(query, key, value, mask)
    assert found.dtype is dtype
    assert ((found - exact).abs() <= bound).all()


def attended(scores: Tensor, value: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """What float64 finds, and the bound: scores, shares, their sum and what is found are rounded.

    An error in the scores, in proportion to the largest, is one of a share and of the sum it is divided by.
    """
    shares, sizes = scores.softmax(dim=-1), scores.where(scores.isfinite(), 0).abs().amax(dim=-1, keepdim=True)
    exact = shares @ value
    rounded = (2 * sizes + 2) * unit(dtype) * (shares @ value.abs()) + unit(dtype) * exact.abs()
    return exact, rounded + of_product(64 + scores.shape[-1], shares @ value.abs())


@pytest.mark.skipif(not HAS_BFLOAT16, reason="oneDNN has no bfloat16 on this CPU to hold the emulation to")
@pytest.mark.parametrize("reorder", [True, False])
@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
def test_the_emulation_is_what_onednn_computes(reorder: bool, activation: str | None) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 577, 64).bfloat16()

    def found() -> tuple[Tensor, Tensor]:
        made = layer(64, 32, activation, reorder, torch.bfloat16)
        made.fuse(True, threads=1)
        return made(x), x.to_mkldnn().softmax(dim=-1).to_dense()

    real = found()
    with emulated():
        ours = found()
    for a, b in zip(ours, real, strict=True):
        assert a.dtype is b.dtype is torch.bfloat16
        assert torch.allclose(a.float(), b.float(), rtol=2 * unit(torch.bfloat16), atol=APPROXIMATED)
        assert (a != b).float().mean() < 0.01


@pytest.mark.parametrize(
    ("device", "fuses", "tiles"),
    [
        (Device(torch.device("cpu"), torch.float32, 1, Bfloat16.TILES), False, True),
        (Device(torch.device("cpu"), torch.float16, 1, Bfloat16.VECTORS), False, False),
        (Device(torch.device("cuda"), torch.bfloat16, 1, Bfloat16.VECTORS), False, False),
        (Device(torch.device("cpu"), torch.bfloat16, 1, Bfloat16.EMULATED), False, False),
        (Device(torch.device("cpu"), torch.bfloat16, 1, Bfloat16.VECTORS), True, False),
        (Device(torch.device("cpu"), torch.bfloat16, 1, Bfloat16.TILES), True, True),
    ],
)
def test_only_bfloat16_on_a_cpu_that_multiplies_it_is_fused(device: Device, fuses: bool, tiles: bool) -> None:
    assert (device.fuses, device.tiles) == (fuses, tiles)
