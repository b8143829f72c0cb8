"""Weights in several files: read as one, and refused where their index or the files contradict themselves."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from blip_serve.errors import CheckpointError
from tests.support.checkpoints import build
from tests.support.damage import RAN, Hostile
from tests.support.loading import load_matcher
from tests.support.pictures import encoded, picture
from tests.support.reference import Reference
from tests.support.running import item, run

Index = dict[str, str]
IMAGE, CAPTION = encoded(picture(1)), "a red dog"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("whole"), seed=3)


def divide(whole: Path, folder: Path, kind: str = "safetensors") -> Path:
    """A copy whose weights are in three files."""
    shutil.copytree(whole, folder)
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    stem, suffix = ("model", "safetensors") if kind == "safetensors" else ("pytorch_model", "bin")
    index: Index = {}
    for number in range(3):
        shard = dict(list(state.items())[number::3])
        name = f"{stem}-0000{number + 1}-of-00003.{suffix}"
        save(shard, folder / name)
        index |= dict.fromkeys(shard, name)
    write_index(folder / f"{stem}.{suffix}.index.json", index)
    return folder


def save(state: dict[str, Tensor], file: Path) -> None:
    if file.suffix == ".bin":
        torch.save(state, file)
    else:
        save_file(state, file, {"format": "pt"})


def write_index(file: Path, index: Index) -> None:
    file.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": index}))


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_weights_in_several_files_are_those_of_transformers(whole: Path, tmp_path: Path, kind: str) -> None:
    folder = divide(whole, tmp_path / "checkpoint", kind)
    [[found]] = run(load_matcher(folder), item(IMAGE, [CAPTION]))
    logits, cosine = Reference(folder).score(IMAGE, CAPTION)
    assert found.itm_logits == pytest.approx(logits, abs=1e-5)
    assert found.cosine_score == pytest.approx(cosine, abs=1e-5)


def test_a_whole_file_goes_before_shards_as_transformers_has_it(whole: Path, tmp_path: Path) -> None:
    folder = divide(whole, tmp_path / "checkpoint")
    for shard in folder.glob("model-*.safetensors"):
        shard.write_bytes(b"")
    shutil.copy(whole / "model.safetensors", folder)
    load_matcher(folder)


SHARD = "model-00002-of-00003.safetensors"


def repeat_a_weight(folder: Path) -> None:
    save_file(load_file(folder / SHARD) | {"itm_head.bias": torch.zeros(2)}, folder / SHARD)
    shard = folder / SHARD.replace("2-of", "3-of")
    save_file(load_file(shard) | {"itm_head.bias": torch.zeros(2)}, shard)


def lose_a_weight(folder: Path) -> None:
    for shard in folder.glob("model-*.safetensors"):
        state = load_file(shard)
        if state.pop("itm_head.bias", None) is not None:
            save_file(state, shard)


def lead(shard: str) -> Callable[[Path], None]:
    """The index names `shard` for a weight."""

    def damage(folder: Path) -> None:
        file = folder / "model.safetensors.index.json"
        write_index(file, json.loads(file.read_text())["weight_map"] | {"itm_head.bias": shard})

    return damage


def code_in_a_shard(folder: Path) -> None:
    torch.save({"itm_head.bias": Hostile()}, folder / "x.bin")
    lead("x.bin")(folder)


INDEX = r"model\.safetensors\.index\.json"
OUTSIDE = rf"{INDEX}: weight_map: .* is not the name of a file beside it"
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "a shard missing": (lambda folder: (folder / SHARD).unlink(), rf"{SHARD}: not there, though {INDEX} names it"),
    "a shard cut off": (
        lambda folder: (folder / SHARD).write_bytes((folder / SHARD).read_bytes()[:999]), rf"{SHARD}: not readable"
    ),
    "a weight in two": (repeat_a_weight, r"model-0000[23]-of-00003\.safetensors: itm_head\.bias is in model-0000"),
    "a weight in none": (lose_a_weight, r"itm_head\.bias is missing"),
    "above": (lead("../x.safetensors"), OUTSIDE),
    "elsewhere": (lead("/etc/passwd"), OUTSIDE),
    "below": (lead("a/x.safetensors"), OUTSIDE),
    "the folder": (lead("."), OUTSIDE),
    "its parent": (lead(".."), OUTSIDE),
    "nothing": (lead(""), OUTSIDE),
    "a zero byte": (lead("a\0.safetensors"), OUTSIDE),
    "no map": (
        lambda folder: (folder / "model.safetensors.index.json").write_text("{}"), rf"{INDEX}: weight_map: must name"
    ),
    "a map of lists": (
        lambda folder: (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": []}}'), OUTSIDE
    ),
    "a weight named twice": (
        lambda folder: (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "b", "a": "c"}}'),
        rf"{INDEX}: not JSON: 'a' stands there twice",
    ),
    "code in a shard": (code_in_a_shard, r"x\.bin: refused"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "reason"), BROKEN.values(), ids=BROKEN)
def test_shards_that_contradict_their_index_name_the_file(
    whole: Path, tmp_path: Path, damage: Callable[[Path], object], reason: str
) -> None:
    folder = divide(whole, tmp_path / "checkpoint")
    damage(folder)
    with pytest.raises(CheckpointError, match=reason) as refused:
        load_matcher(folder)
    assert str(tmp_path) not in refused.value.brief
    assert RAN == []
