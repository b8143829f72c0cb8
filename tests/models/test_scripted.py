"""Layers compute the same in TorchScript, as on a CPU, as in Python, as on CUDA."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from blip_serve.catalogue import EMBEDDED
from blip_serve.domain import AnyModel, Caption, Item, RankItem
from blip_serve.errors import OutOfMemory
from blip_serve.models import device, weights
from blip_serve.models.answerer import Answerer
from blip_serve.models.captioner import Captioner
from blip_serve.models.device import Bfloat16, Device
from blip_serve.models.matcher import Matcher
from tests.support.checkpoints import SMALL, build
from tests.support.loading import load
from tests.support.onednn import multiplying
from tests.support.pictures import encoded, picture
from tests.support.running import image_bytes, item, run, writing

pytestmark = pytest.mark.skipif(sys.version_info >= (3, 14), reason="TorchScript does not support this Python")
IMAGES = [encoded(picture(seed)) for seed in range(6)]
TEXTS = ["a dog", "a cat " * 18, "a red dog", "a dog " * 18]
LONG: dict[str, Any] = {"min_tokens": 9, "max_tokens": 9}
ITEMS: dict[type[Matcher | Captioner | Answerer], list[Item]] = {
    Matcher: [item(image, TEXTS[i % 4 :]) for i, image in enumerate(IMAGES)],
    Captioner: [
        writing(IMAGES[0], "a photo of", **LONG),
        writing(IMAGES[0], num_beams=3, **LONG),
        writing(IMAGES[1], "a", n=4, temperature=1.0, seed=5, **LONG),
        *(writing(image) for image in IMAGES[2:]),
    ],
    Answerer: [
        writing(IMAGES[0], "what is it?", **LONG),
        writing(IMAGES[1], "is the dog on the beach or a man?", num_beams=3),
        RankItem(image_bytes(IMAGES[0]), Caption("what is it?", "text"), (Caption("dog", "a"), Caption("a cat", "a"))),
    ],
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[type[AnyModel], Path]:
    made = {
        Matcher: build(tmp_path_factory.mktemp("retrieval")),
        Captioner: build(tmp_path_factory.mktemp("captioning"), kind="captioning", seed=7),
    }
    return {**made, Answerer: EMBEDDED / "demo-vqa"}


@pytest.mark.parametrize(("dtype", "by"), [("float32", Bfloat16.EMULATED), *(("bfloat16", by) for by in Bfloat16)])
@pytest.mark.parametrize("kind", ITEMS)
def test_layers_in_torchscript_are_those_in_python(
    folders: dict[type[AnyModel], Path], kind: Any, dtype: str, by: Bfloat16, monkeypatch: pytest.MonkeyPatch
) -> None:
    with multiplying(by):
        scripted = load(kind, folders[kind], dtype=dtype)
        monkeypatch.setattr(weights, "_script", lambda network: None)
        plain = load(kind, folders[kind], dtype=dtype)
        assert all(issubclass(kind, torch.jit.ScriptModule) for kind in layers(scripted))
        assert not any(issubclass(kind, torch.jit.ScriptModule) for kind in layers(plain))
        assert run(scripted, *ITEMS[kind]) == run(plain, *ITEMS[kind])
        for each in ITEMS[kind]:
            assert run(scripted, each) == run(plain, each)


def test_two_threads_on_avx2_compute_what_one_does(
    folders: dict[type[AnyModel], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By oneDNN from the weights as they are, where rows are few."""
    monkeypatch.setattr(device, "IS_AVX2", True)
    one, two = (run(load(Matcher, folders[Matcher], threads=threads), *ITEMS[Matcher]) for threads in (1, 2))
    for found, wanted in zip(two, one, strict=True):
        assert [score.itm_logits for score in found] == [pytest.approx(each.itm_logits, abs=1e-5) for each in wanted]
    greedy = [writing(image, "a", **LONG) for image in IMAGES[:3]]
    one, two = (run(load(Captioner, folders[Captioner], threads=threads), *greedy) for threads in (1, 2))
    assert one == two


def test_models_that_are_loaded_side_by_side_are_scripted_one_by_one(
    folders: dict[type[AnyModel], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    script, inside, alone = torch.jit.script, threading.Lock(), []

    def slowly(module: nn.Module) -> Any:
        alone.append(inside.acquire(blocking=False))
        threading.Event().wait(0.05)  # so that another comes, if it can
        if alone[-1]:
            inside.release()
        return script(module)

    monkeypatch.setattr(torch.jit, "script", slowly)
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda kind: load(kind, folders[kind]), folders))
    assert len(alone) == 7
    assert all(alone)


def test_layers_out_of_memory_say_so(folders: dict[type[AnyModel], Path]) -> None:
    model = load(Matcher, folders[Matcher])
    width = SMALL.vision["hidden_size"]
    with pytest.raises(OutOfMemory), Device(torch.device("cpu"), torch.float32).computing():
        model.network.vision_model.encoder(torch.zeros(1, 1, width).expand(10**12, 37, width))


def test_only_a_cpu_scripts() -> None:
    assert Device(torch.device("cpu"), torch.float32).scripts
    assert not Device(torch.device("cuda"), torch.float16).scripts


def layers(model: Matcher | Captioner | Answerer) -> list[type]:
    """What the layers of its towers are."""
    names = "vision_model.encoder", "text_encoder.encoder", "text_decoder.bert.encoder"
    found = [type(part) for name, part in model.network.named_modules() if name in names]
    assert len(found) >= 2
    return found
