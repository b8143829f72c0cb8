"""Export: a trained model as a folder in the hub's layout of 2022, which transformers' classes load by name."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import BertTokenizer

from demo.dimensions import PIXEL_MEAN, PIXEL_STD, Dimensions
from demo.files import write_json
from demo.vocabulary import Vocabulary

_BICUBIC = 3  # PIL.Image.Resampling.BICUBIC


def export(model: nn.Module, architecture: str, vocabulary: Vocabulary, folder: Path) -> None:
    """Writes config, tokenizer, preprocessor and float16 weights."""
    folder.mkdir(parents=True, exist_ok=True)
    dimensions = Dimensions(len(vocabulary))
    write_json(folder / "config.json", _config(architecture, vocabulary, dimensions))
    write_json(folder / "preprocessor_config.json", _preprocessor(dimensions))
    _write_tokenizer(vocabulary, dimensions, folder)
    weights = {name: tensor.detach().to(torch.float16).contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)  # safetensors writes a file that its owner alone can read


def _config(architecture: str, vocabulary: Vocabulary, dimensions: Dimensions) -> dict[str, object]:
    return {
        "architectures": [architecture],
        "model_type": "blip",
        "image_text_hidden_size": dimensions.joint,
        "projection_dim": dimensions.joint,
        "initializer_factor": 1.0,
        "logit_scale_init_value": 2.6592,
        "torch_dtype": "float16",
        "text_config": _text_config(vocabulary, dimensions),
        "vision_config": _vision_config(dimensions),
    }


def _text_config(vocabulary: Vocabulary, dimensions: Dimensions) -> dict[str, object]:
    return {
        "model_type": "blip_text_model",
        "vocab_size": dimensions.vocabulary,
        "hidden_size": dimensions.width,
        "encoder_hidden_size": dimensions.width,
        "intermediate_size": dimensions.text_inner,
        "projection_dim": dimensions.joint,
        "num_hidden_layers": dimensions.text_layers,
        "num_attention_heads": dimensions.heads,
        "max_position_embeddings": dimensions.positions,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": 0.02,
        "bos_token_id": vocabulary.ids["[DEC]"],
        "eos_token_id": vocabulary.ids["[SEP]"],
        "sep_token_id": vocabulary.ids["[SEP]"],
        "pad_token_id": vocabulary.ids["[PAD]"],
        "is_decoder": True,  # creates the cross-attention; an encoder's attention stays bidirectional
        "use_cache": True,
    }


def _vision_config(dimensions: Dimensions) -> dict[str, object]:
    return {
        "model_type": "blip_vision_model",
        "hidden_size": dimensions.width,
        "intermediate_size": dimensions.vision_inner,
        "projection_dim": dimensions.joint,
        "num_hidden_layers": dimensions.vision_layers,
        "num_attention_heads": dimensions.heads,
        "image_size": dimensions.image_size,
        "patch_size": dimensions.patch,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
    }


def _preprocessor(dimensions: Dimensions) -> dict[str, object]:
    return {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": list(PIXEL_MEAN),
        "image_processor_type": "BlipImageProcessor",
        "image_std": list(PIXEL_STD),
        "processor_class": "BlipProcessor",
        "resample": _BICUBIC,
        "rescale_factor": 1 / 255,
        "size": {"height": dimensions.image_size, "width": dimensions.image_size},
    }


def _write_tokenizer(vocabulary: Vocabulary, dimensions: Dimensions, folder: Path) -> None:
    """vocab.txt, tokenizer.json and the two files of settings; [DEC] and [ENC] are words of the vocabulary."""
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
    (folder / "vocab.txt").write_text("\n".join(vocabulary.words) + "\n", encoding="utf-8")
    BertTokenizer(vocab=dict(vocabulary.ids)).backend_tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "special_tokens_map.json", special)
    settings = {
        "tokenizer_class": "BertTokenizer",
        "processor_class": "BlipProcessor",
        "do_lower_case": True,
        "do_basic_tokenize": True,
        "strip_accents": None,
        "tokenize_chinese_chars": True,
        "model_max_length": dimensions.positions,
        **special,
    }
    write_json(folder / "tokenizer_config.json", settings)
