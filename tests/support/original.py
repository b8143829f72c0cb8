"""Writes a checkpoint as Salesforce's training code saves it: its own names, and what only training needs.

Written from salesforce/BLIP:models/*.py, apart from the service's table of names.
"""

import re
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

TO_ORIGINAL = [
    (r"^vision_model\.embeddings\.class_embedding$", "visual_encoder.cls_token"),
    (r"^vision_model\.embeddings\.position_embedding$", "visual_encoder.pos_embed"),
    (r"^vision_model\.embeddings\.patch_embedding\.(\w+)$", r"visual_encoder.patch_embed.proj.\1"),
    (r"^vision_model\.post_layernorm\.(\w+)$", r"visual_encoder.norm.\1"),
    (r"^vision_model\.encoder\.layers\.(\d+)\.layer_norm([12])\.(\w+)$", r"visual_encoder.blocks.\1.norm\2.\3"),
    (r"^vision_model\.encoder\.layers\.(\d+)\.self_attn\.qkv\.(\w+)$", r"visual_encoder.blocks.\1.attn.qkv.\2"),
    (r"^vision_model\.encoder\.layers\.(\d+)\.self_attn\.projection\.(\w+)$", r"visual_encoder.blocks.\1.attn.proj.\2"),
    (r"^vision_model\.encoder\.layers\.(\d+)\.mlp\.(fc[12])\.(\w+)$", r"visual_encoder.blocks.\1.mlp.\2.\3"),
]


def original_name(name: str) -> str:
    """The name that the training code has for a weight of the hub's checkpoints."""
    for pattern, replacement in TO_ORIGINAL:
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name)
    assert not name.startswith("vision_model"), name
    return name


def original_state(folder: Path) -> dict[str, Tensor]:
    """The weights as `state_dict()` of the training code's class has them: tied ones twice, buffers too."""
    weights = load_file(folder / "model.safetensors")
    state = {original_name(name): tensor for name, tensor in weights.items()}
    for name in list(state):
        if name.endswith("embeddings.word_embeddings.weight"):
            places = state[name.replace("word", "position")].shape[0]
            state[name.replace("word_embeddings.weight", "position_ids")] = torch.arange(places)[None]
    if (bias := state.get("text_decoder.cls.predictions.bias")) is not None:
        state["text_decoder.cls.predictions.decoder.bias"] = bias
        words = state["text_decoder.bert.embeddings.word_embeddings.weight"]
        state["text_decoder.cls.predictions.decoder.weight"] = words
    if "itm_head.weight" in state:
        state |= _of_training(state)
    return state


def _of_training(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies that follow by momentum, and the queues of features of earlier batches."""
    parts = ("visual_encoder.", "text_encoder.", "vision_proj.", "text_proj.")
    copies = {
        re.sub(r"^(\w+)\.", r"\1_m.", name): tensor * 0.995
        for name, tensor in state.items()
        if name.startswith(parts) and tensor.is_floating_point()
    }
    joint = state["text_proj.weight"].shape[0]
    generator = torch.Generator().manual_seed(0)
    return copies | {
        "image_queue": torch.randn(joint, 64, generator=generator),
        "text_queue": torch.randn(joint, 64, generator=generator),
        "idx_queue": torch.full((1, 64), -100),
        "ptr_queue": torch.zeros(1, dtype=torch.long),
        "temp": torch.tensor(0.07),
    }


def write_original(folder: Path, file: Path) -> Path:
    """Writes the checkpoint in `folder` as the file that a training of it would have left."""
    torch.save({"model": original_state(folder)}, file)
    return file
