"""Many checkpoints that share most of their weights' file, so that they take little room on the disk."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.support.checkpoints import Size, build

SHARED, OWN = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
HEADS = ("itm_head.", "vision_proj.", "text_proj.")


def build_many(folder: Path, size: Size, count: int) -> list[Path]:
    """Retrieval checkpoints in two shards, the larger linked to one file. Their heads differ, and so their scores."""
    first = build(folder / "first", size)
    state = load_file(first / "model.safetensors")
    heads = {name: tensor for name, tensor in state.items() if name.startswith(HEADS)}
    save_file({name: tensor for name, tensor in state.items() if name not in heads}, folder / SHARED)
    index = {"weight_map": {name: OWN if name in heads else SHARED for name in state}}
    (first / "model.safetensors").unlink()
    return [_variant(folder, first, heads, index, number) for number in range(count)]


def _variant(
    folder: Path, first: Path, heads: dict[str, torch.Tensor], index: dict[str, dict[str, str]], number: int
) -> Path:
    made = folder / f"model-{number}"
    shutil.copytree(first, made)
    (made / SHARED).hardlink_to(folder / SHARED)
    generator = torch.Generator().manual_seed(number)
    own = {name: tensor + 0.02 * torch.randn(tensor.shape, generator=generator) for name, tensor in heads.items()}
    save_file(own, made / OWN)
    (made / "model.safetensors.index.json").write_text(json.dumps(index))
    return made
