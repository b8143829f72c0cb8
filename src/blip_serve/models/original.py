"""Salesforce's original checkpoints (`.pth`): their weights under the hub's names. Runs no code from them.

Names from salesforce/BLIP:models/vit.py, med.py, blip_retrieval.py, blip.py, blip_vqa.py and blip_pretrain.py; the text
towers, projections and heads have the same ones on the hub, and the vision tower's `qkv` is fused in both.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from blip_serve.errors import CheckpointError
from blip_serve.models.weights import Held, tensors_of, unpickled

VISION = {
    "cls_token": "embeddings.class_embedding",
    "pos_embed": "embeddings.position_embedding",
    "patch_embed.proj.": "embeddings.patch_embedding.",
    "blocks.": "encoder.layers.",
    "norm.": "post_layernorm.",
}
"""How names begin below `visual_encoder.`, and how they do below `vision_model.`."""
LAYER = {".norm1.": ".layer_norm1.", ".norm2.": ".layer_norm2.", ".attn.": ".self_attn.", ".proj.": ".projection."}
"""Parts of the names in a vision layer."""
TRAINING = ("temp", "image_queue", "text_queue", "idx_queue", "ptr_queue", "queue_ptr")
"""What only training needs, beside the copies that follow by momentum: their first word ends in `_m`."""
PRETRAINED = {"itm_head", "text_decoder"}
"""First words that only a checkpoint of pre-training has both: it holds the parts of more than one model."""
POSITIONS = "vision_model.embeddings.position_embedding"


def read_original(file: Path, expected: Mapping[str, Tensor]) -> dict[str, Held]:
    """The weights by the hub's names. `expected`: those of the model that it is for.

    Of a checkpoint of pre-training only the model's parts are taken, and positions of pictures of another size are
    resized, both as the original does at load. Raises `CheckpointError` naming `file`.
    """
    held = unpickled(file)
    if not isinstance(held, dict) or "model" not in held:
        raise CheckpointError(file, "not one of Salesforce's checkpoints: these hold their weights under `model`")
    state: dict[str, Held] = {}
    for name, tensor in tensors_of(held["model"], file).items():
        known = hub_name(name)
        if known in state:
            raise CheckpointError(file, f"{known} is there twice: {name} is one of its names")
        if known is not None:
            state[known] = Held(tensor, file)
    if {_first(name) for name in state} >= PRETRAINED:
        parts = {_first(name) for name in expected}
        state = {name: held for name, held in state.items() if _first(name) in parts}
    if POSITIONS in state and POSITIONS in expected:
        state[POSITIONS] = replace(state[POSITIONS], tensor=_resized(state[POSITIONS].tensor, expected[POSITIONS]))
    return state


def hub_name(name: str) -> str | None:
    """The hub's name of a weight; `None` for what only training needs. A name that is not known stays as it is."""
    first, _, rest = name.partition(".")
    if first in TRAINING or first.endswith("_m"):
        return None
    if first != "visual_encoder":
        return name
    for begin, ours in VISION.items():
        if rest.startswith(begin):
            rest = ours + rest.removeprefix(begin)
            break
    if rest.startswith("encoder.layers."):
        for part, ours in LAYER.items():
            rest = rest.replace(part, ours)
    return f"vision_model.{rest}"


def _first(name: str) -> str:
    return name.partition(".")[0]


def _resized(found: Tensor, expected: Tensor) -> Tensor:
    """(1, 1 + n * n, D) to the expected count, by bicubic interpolation; the first is the whole image's, and stays.

    As salesforce/BLIP:models/vit.py:interpolate_pos_embed. What is no square grid is left for the check of shapes.
    """
    if found.ndim != 3 or found.shape == expected.shape or not found.is_floating_point():
        return found
    old, new = (math.isqrt(max(each.shape[1] - 1, 0)) for each in (found, expected))
    if old < 1 or old * old + 1 != found.shape[1] or new * new + 1 != expected.shape[1]:
        return found
    grid = found[:, 1:].reshape(-1, old, old, found.shape[2]).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=(new, new), mode="bicubic", align_corners=False)
    return torch.cat((found[:, :1], grid.permute(0, 2, 3, 1).flatten(1, 2)), dim=1)
