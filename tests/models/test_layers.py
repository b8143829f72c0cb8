"""oneDNN's fused layers against float64: in float32, which every CPU has, and in bfloat16, emulated where it lacks."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from blip_serve.models.device import Bfloat16, Device
from blip_serve.models.kernels import AVX2, CUDA, OTHER, TILES, VECTORS, Kernels
from blip_serve.models.layers import ACTIVATIONS, DotProductAttention, Linear, activate
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
@pytest.mark.parametrize("kernels", [TILES, VECTORS])
@pytest.mark.parametrize(("inner", "width"), [(32, 64), (64, 32)])
@pytest.mark.parametrize("rows", [1, 5, TILES.slow_from + 1, TILES.slow_to - 1, TILES.slow_to + 8])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_fused_layer_rounds_the_exact_one_once(
    inner: int, width: int, activation: str | None, reorder: bool, kernels: Kernels, rows: int, dtype: torch.dtype
) -> None:
    made = layer(inner, width, activation, reorder, dtype)
    x = torch.randn(1, rows, inner).to(dtype)
    weight, bias, wide = made.weight.double(), made.bias.double(), x.double()
    exact = activate(wide @ weight.T + bias, activation)
    made.tune(kernels, threads=1)
    fused = made(x)
    assert fused.dtype is dtype
    assert fused.shape == exact.shape
    summed = of_product(inner + 1, wide.abs() @ weight.abs().T + bias.abs())
    assert ((fused - exact).abs() <= STEEPEST * summed + APPROXIMATED + unit(dtype) * exact.abs()).all()


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
@pytest.mark.parametrize("rows", [1, AVX2.few_rows, AVX2.few_rows + 1])
def test_few_rows_are_multiplied_by_the_weight_as_it_is(
    activation: str | None, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = layer(32, 64, activation, True, torch.float32)
    x = torch.randn(1, rows, 32)
    exact = activate(x.double() @ made.weight.double().T + made.bias.double(), activation)
    made.tune(AVX2, threads=2)
    by_onednn: list[Tensor] = []
    multiply = made._multiply

    def noted(x: Tensor, weight: Tensor) -> Tensor:
        by_onednn.append(weight)
        return multiply(x, weight)

    monkeypatch.setattr(made, "_multiply", noted)
    assert torch.allclose(made(x).double(), exact, rtol=1e-5, atol=1e-5)
    assert [weight is made.weight for weight in by_onednn] == [True] * (rows <= AVX2.few_rows)


def test_one_thread_gains_nothing_from_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    made = layer(32, 64, None, True, torch.float32)
    made.tune(AVX2, threads=1)
    monkeypatch.setattr(made, "_multiply", lambda x, weight: pytest.fail("oneDNN was asked"))
    made(torch.randn(1, 1, 32))


@pytest.mark.parametrize(
    ("reorder", "kernels", "kept"), [(True, TILES, False), (False, TILES, True), (False, VECTORS, False)]
)
def test_a_reordered_weight_is_not_kept_twice(reorder: bool, kernels: Kernels, kept: bool) -> None:
    made = layer(32, 64, None, reorder, torch.bfloat16)
    made.tune(kernels, threads=1)
    assert hasattr(made, "weight") is kept


@pytest.mark.parametrize("kernels", [TILES, VECTORS])
@pytest.mark.parametrize(("rows", "queries", "keys"), [(1, 1, 20), (1, 1, 577), (4, 10, 10), (2, 97, 577)])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_attention_is_the_exact_one(
    rows: int, queries: int, keys: int, masked: bool, kernels: Kernels, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    query = torch.randn(rows, 12, queries, 64).to(dtype)
    key, value = torch.randn(rows, 24, keys, 64).to(dtype).chunk(2, dim=1)
    mask = torch.arange(keys) < torch.arange(1, rows + 1)[:, None, None, None] * (keys // rows) if masked else None
    scores = query.double() @ key.double().transpose(-2, -1) / 8
    exact, bound = attended(scores if mask is None else scores.masked_fill(~mask, -torch.inf), value.double(), dtype)
    attend = DotProductAttention()
    attend.tune(kernels, threads=1)
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
        made.tune(TILES, threads=1)
        return made(x), x.to_mkldnn().softmax(dim=-1).to_dense()

    real = found()
    with emulated():
        ours = found()
    for a, b in zip(ours, real, strict=True):
        assert a.dtype is b.dtype is torch.bfloat16
        assert torch.allclose(a.float(), b.float(), rtol=2 * unit(torch.bfloat16), atol=APPROXIMATED)
        assert (a != b).float().mean() < 0.01


def on_cpu(dtype: torch.dtype, bfloat16: Bfloat16, avx2: bool = False) -> Device:
    return Device(torch.device("cpu"), dtype, 1, bfloat16, avx2)


@pytest.mark.parametrize(
    ("device", "kernels"),
    [
        (on_cpu(torch.float32, Bfloat16.TILES), OTHER),
        (on_cpu(torch.float32, Bfloat16.EMULATED, avx2=True), AVX2),
        (on_cpu(torch.float16, Bfloat16.VECTORS), OTHER),
        (on_cpu(torch.bfloat16, Bfloat16.EMULATED, avx2=True), OTHER),
        (on_cpu(torch.bfloat16, Bfloat16.ARM), OTHER),
        (on_cpu(torch.bfloat16, Bfloat16.VECTORS), VECTORS),
        (on_cpu(torch.bfloat16, Bfloat16.TILES), TILES),
        (Device(torch.device("cuda"), torch.bfloat16, 1, Bfloat16.VECTORS), CUDA),
    ],
)
def test_a_processor_and_a_number_type_have_their_own_thresholds(device: Device, kernels: Kernels) -> None:
    assert device.kernels is kernels


@pytest.mark.parametrize("kernels", [OTHER, AVX2, TILES, CUDA])
@pytest.mark.parametrize(("images", "tokens", "width"), [(64, 577, 1024), (4, 901, 768)])
def test_a_full_step_is_attended_to_by_torch_s_attention(
    kernels: Kernels, images: int, tokens: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    attend, asked = DotProductAttention(), list[Tensor]()
    attend.tune(kernels, threads=1)
    fused = F.scaled_dot_product_attention

    def noting(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        asked.append(query)
        return fused(query, key, value, mask)

    monkeypatch.setattr(F, "scaled_dot_product_attention", noting)
    x = torch.empty(images, width // 64, tokens, 64, device="meta")
    assert attend(x, x, x).shape == x.shape
    assert len(asked) == 1
