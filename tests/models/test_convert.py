"""Checkpoints written in the hub's layout: the same answers, to the bit. Whatever does not fit is refused by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from blip_serve.catalogue import embedded_card
from blip_serve.errors import CheckpointError
from blip_serve.models import convert
from blip_serve.models.answerer import Answerer
from blip_serve.models.captioner import Captioner
from blip_serve.models.convert import write_folder
from blip_serve.models.digests import DECIDING
from blip_serve.models.matcher import Matcher
from tests.models.test_shards import divide
from tests.support.checkpoints import SMALL, Size, build
from tests.support.damage import RAN, Hostile
from tests.support.loading import load
from tests.support.original import original_state, write_original
from tests.support.pictures import encoded, picture
from tests.support.running import item, run, writing

State = dict[str, Any]
IMAGES = [encoded(picture(seed)) for seed in range(3)]
CAPTIONS = ["a red dog", "two cats on the beach", "one blue photo"]


def demo(name: str) -> Path:
    folder = embedded_card(name).folder
    assert folder is not None
    return folder


def scores(folder: Path) -> object:
    return run(load(Matcher, folder), *(item(image, CAPTIONS) for image in IMAGES))


def captions(folder: Path) -> object:
    return run(load(Captioner, folder), *(writing(image, max_tokens=9, num_beams=3) for image in IMAGES))


def answers(folder: Path) -> object:
    asked = [writing(image, "how many dogs are in the photo", max_tokens=5) for image in IMAGES]
    return run(load(Answerer, folder), *asked)


KINDS: dict[str, Callable[[Path], object]] = {
    "demo-retrieval": scores,
    "demo-captioning": captions,
    "demo-vqa": answers,
}


def assert_same_weights(one: Path, other: Path) -> None:
    found, expected = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("small"), seed=5)


@pytest.mark.parametrize(("name", "asked"), KINDS.items(), ids=KINDS)
def test_salesforces_file_gives_the_answers_of_the_hubs_to_the_bit(
    tmp_path: Path, name: str, asked: Callable[[Path], object]
) -> None:
    original = write_original(demo(name), tmp_path / "model.pth")
    write_folder(original, demo(name), tmp_path / "to")
    assert asked(tmp_path / "to") == asked(demo(name))
    assert {file.name for file in (tmp_path / "to").iterdir()} <= {*DECIDING, "model.safetensors"}
    assert_same_weights(tmp_path / "to", demo(name))


@pytest.mark.parametrize("kind", ["bin", "safetensors"])
def test_shards_of_either_kind_become_one_file_of_the_same_weights(small: Path, tmp_path: Path, kind: str) -> None:
    shards = divide(small, tmp_path / "shards", kind)
    write_folder(shards, shards, tmp_path / "to")
    assert_same_weights(tmp_path / "to", small)
    assert not list((tmp_path / "to").glob("*.index.json"))


def test_one_pickled_file_becomes_safetensors(small: Path, tmp_path: Path) -> None:
    pickled = build(tmp_path / "pickled", seed=5, pickled=True)
    write_folder(pickled, pickled, tmp_path / "to")
    assert_same_weights(tmp_path / "to", small)
    assert not (tmp_path / "to" / "pytorch_model.bin").exists()


def test_a_safetensors_file_is_copied_as_it_is(small: Path, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    write_folder(small, small, tmp_path / "to")
    assert (tmp_path / "to" / "model.safetensors").read_bytes() == (small / "model.safetensors").read_bytes()


def test_positions_of_larger_pictures_are_resized_as_the_original_does(small: Path, tmp_path: Path) -> None:
    larger = build(tmp_path / "larger", Size(SMALL.vision | {"image_size": 72}, SMALL.text, SMALL.joint), seed=5)
    original = write_original(larger, tmp_path / "model.pth")
    write_folder(original, small, tmp_path / "to")
    name = "vision_model.embeddings.position_embedding"
    found = load_file(tmp_path / "to" / "model.safetensors")[name]
    places = load_file(larger / "model.safetensors")[name]  # (1, 1 + 9 * 9, 48)
    assert torch.equal(found[:, 0], places[:, 0])
    for channel in (0, 47):
        grid = places[0, 1:, channel].reshape(1, 1, 9, 9)
        expected = F.interpolate(grid, (6, 6), mode="bicubic", align_corners=False)
        torch.testing.assert_close(found[0, 1:, channel].reshape(1, 1, 6, 6), expected)


def test_the_parts_of_a_model_are_taken_from_a_checkpoint_of_pre_training(tmp_path: Path) -> None:
    retrieval, captioning = (build(tmp_path / kind, kind=kind, seed=6) for kind in ("retrieval", "captioning"))
    torch.save({"model": original_state(retrieval) | original_state(captioning)}, tmp_path / "pre.pth")
    write_folder(tmp_path / "pre.pth", captioning, tmp_path / "to")
    assert_same_weights(tmp_path / "to", captioning)


WRONG: dict[str, tuple[Callable[[State], object], str]] = {
    "missing": (lambda s: s.pop("visual_encoder.blocks.1.attn.qkv.bias"), r"\.1\.self_attn\.qkv\.bias is missing"),
    "left over": (lambda s: s.update({"visual_encoder.head.bias": torch.zeros(2)}), r"model\.head\.bias is left"),
    "unknown": (lambda s: s.update(prompt=torch.zeros(2)), "prompt is left over"),
    "another shape": (lambda s: s.update({"itm_head.bias": torch.zeros(3)}), r"itm_head\.bias is \(3,\), the config"),
    "no square": (
        lambda s: s.update({"visual_encoder.pos_embed": torch.zeros(1, 8, 48)}), r"position_embedding is \(1, 8, 48\)"
    ),
    "by both names": (
        lambda s: s.update({"vision_model.post_layernorm.bias": torch.zeros(48)}), r"layernorm\.bias is there twice"
    ),
    "of integers": (lambda s: s.update({"itm_head.bias": torch.zeros(2, dtype=torch.int64)}), "is of int64"),
    "not a tensor": (lambda s: s.update({"itm_head.bias": [0.0]}), "not a state dict"),
    "code": (lambda s: s.update({"itm_head.bias": Hostile()}), "refused: damaged, or holding code"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "reason"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused_by_name_and_nothing_is_written(
    small: Path, tmp_path: Path, damage: Callable[[State], object], reason: str
) -> None:
    state: State = dict(original_state(small))
    damage(state)
    torch.save({"model": state}, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=rf"model\.pth: .*{reason}"):
        write_folder(tmp_path / "model.pth", small, tmp_path / "to")
    assert [file.name for file in tmp_path.iterdir()] == ["model.pth"]
    assert RAN == []


def test_a_full_disk_is_an_error_of_the_system_and_nothing_is_left(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(convert, "save_file", full)
    original = write_original(small, tmp_path / "model.pth")
    with pytest.raises(OSError, match=r"model\.safetensors: .* No space left on device"):
        write_folder(original, small, tmp_path / "to")
    assert [file.name for file in tmp_path.iterdir()] == ["model.pth"]


def test_a_file_that_is_not_salesforces_is_refused(small: Path, tmp_path: Path) -> None:
    torch.save(dict[str, Tensor](original_state(small)), tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match="under `model`"):
        write_folder(tmp_path / "model.pth", small, tmp_path / "to")


def test_another_architecture_is_refused(small: Path, tmp_path: Path) -> None:
    original = write_original(small, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=r"text_decoder\.\S+ is missing"):
        write_folder(original, demo("demo-captioning"), tmp_path / "to")
