"""What models ask of a device: uploads that can be pinned, as on CUDA, and no function of MKL's vector library."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from blip_serve.domain import Caption, Item, RankItem
from blip_serve.models import checkpoint
from blip_serve.models.answerer import Answerer
from blip_serve.models.captioner import Captioner
from blip_serve.models.device import Device
from blip_serve.models.matcher import Matcher
from tests.support.checkpoints import SMALL, SMALL_VQA, Kind, build
from tests.support.loading import load
from tests.support.pictures import encoded, picture
from tests.support.running import image_bytes, item, run, writing

IMAGES = [encoded(picture(seed)) for seed in range(3)]
TEXTS = ["a dog", "a cat on the beach", "a", "two small red dogs and a woman on the beach"]
MODELS: dict[Kind, Any] = {
    "retrieval": Matcher,
    "captioning": Captioner,
    "answering": Answerer,
}
VECTOR_LIBRARY = {
    *("acos", "asin", "atan", "cos", "cosh", "erf", "erfc", "erfinv", "exp", "exp2", "expm1", "lgamma", "log", "log10"),
    *("log1p", "log2", "pow", "rsqrt", "sin", "sinh", "sqrt", "tan", "tanh"),
}
"""What torch may compute by it on a CPU (`aten/src/ATen/cpu/vml.h`)."""


@dataclass(frozen=True, slots=True)
class Pinning(Device):
    """A CPU that copies what it is given as `Tensor.pin_memory` does: into a tensor of the same strides."""

    def upload(self, tensor: Tensor) -> Tensor:
        storage = torch.empty(tensor.untyped_storage().nbytes(), dtype=torch.uint8).untyped_storage()
        pinned = torch.empty(0, dtype=tensor.dtype).set_(storage, 0, tensor.size(), tensor.stride())
        return pinned.copy_(tensor)


def items(kind: Kind) -> list[Item]:
    if kind == "retrieval":
        return [item(image, TEXTS) for image in IMAGES]
    drawn = [
        writing(image, text, n=2, temperature=1.0, top_logprobs=2) for image, text in zip(IMAGES, TEXTS, strict=False)
    ]
    beams = [writing(image, "a dog", num_beams=2, repetition_penalty=1.2, min_tokens=3) for image in IMAGES]
    if kind == "captioning":
        return [*drawn, *beams]
    answers = tuple(Caption(text, "answer") for text in TEXTS)
    return [*drawn, *beams, *(RankItem(image_bytes(image), Caption("what is it?", "q"), answers) for image in IMAGES)]


@pytest.mark.parametrize("kind", MODELS)
def test_all_that_is_uploaded_can_be_pinned(
    kind: Kind, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = SMALL_VQA if kind == "answering" else SMALL
    folder = build(tmp_path_factory.mktemp("checkpoint"), size, kind=kind)
    wanted = run(load(MODELS[kind], folder), *items(kind))
    monkeypatch.setattr(checkpoint, "open_device", lambda _: Pinning(torch.device("cpu"), torch.float32))
    assert run(load(MODELS[kind], folder), *items(kind)) == wanted


@pytest.mark.parametrize("kind", MODELS)
def test_no_model_calls_mkls_vector_library(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> None:
    """In a process's first call of one a thread may be less exact (github.com/pytorch/pytorch/issues/188792)."""
    size = SMALL_VQA if kind == "answering" else SMALL
    model = load(MODELS[kind], build(tmp_path_factory.mktemp("checkpoint"), size, kind=kind))
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        run(model, *items(kind))
    called = {event.key.removeprefix("aten::").rstrip("_") for event in profiled.key_averages()}
    assert "softmax" in called
    assert not called & VECTOR_LIBRARY
