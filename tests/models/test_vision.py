"""What the vision tower does to its tokens for oneDNN's sake; the parity tests hold its numbers to transformers'."""

import pytest
import torch

from blip_serve.models.config import VisionConfig
from blip_serve.models.kernels import VECTORS
from blip_serve.models.vision import VisionEncoder


@pytest.mark.parametrize("tokens", [VECTORS.padded_from - 1, VECTORS.padded_from, VECTORS.padded_from + 1])
def test_what_pads_an_image_is_not_attended_to(tokens: int) -> None:
    torch.manual_seed(0)
    encoder = VisionEncoder(VisionConfig(384, 16, 64, 64, 2, 2, 1e-5, "gelu")).requires_grad_(False)
    for weight in encoder.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    encoder.double()  # in float32 sums of more rows are in another order, on each CPU in its own
    x = torch.randn(2, tokens, 64, dtype=torch.float64)
    plain = encoder(x)
    encoder.tune(VECTORS, threads=1)
    for padding in (encoder, torch.jit.script(encoder)):  # as a service has it
        padded = padding(x)
        assert padded.shape == plain.shape
        assert torch.allclose(padded, plain, rtol=0, atol=1e-10)
