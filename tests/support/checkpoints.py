"""Checkpoints with random weights, written in the hub's own file format, old or new."""

import json
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipForImageTextRetrieval,
    BlipForQuestionAnswering,
    BlipImageProcessor,
    BlipProcessor,
)

from blip_serve.models.processing import CLIP_MEAN, CLIP_STD

WORDS = [
    "one", "an", "the", "and", "of", "with", "on", "in", "red", "blue", "green", "small", "large", "dog", "cat",
    "beach", "woman", "man", "sitting", "two", "photo", "##ed", "##ing",
]  # fmt: skip
LONGER_WORDS = [
    "photography", "holding", "umbrella", "picture", "many", "how", "what", "is", "are", "dogs", "doing", "at", "night",
]  # fmt: skip
BERT_WORDS = 30522
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

Layout = Literal["2022", "transformers 5"]
Kind = Literal["retrieval", "captioning", "answering"]
CLASSES: dict[Kind, Any] = {
    "retrieval": BlipForImageTextRetrieval,
    "captioning": BlipForConditionalGeneration,
    "answering": BlipForQuestionAnswering,
}


@dataclass(frozen=True)
class Size:
    """The numbers of an architecture."""

    vision: dict[str, int]
    text: dict[str, int]
    joint: int
    end_bias: float = 4.0
    """Added to the head's bias at `[SEP]`: otherwise random weights practically never end a text."""


SMALL = Size(
    vision={"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96,
            "image_size": 48, "patch_size": 8},
    text={"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64,
          "max_position_embeddings": 40},
    joint=16,
)  # fmt: skip
SMALL_VQA = Size(SMALL.vision, SMALL.text | {"hidden_size": 48, "num_attention_heads": 4}, SMALL.joint, end_bias=4.5)
BASE = Size(
    vision={"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
            "image_size": 384, "patch_size": 16},
    text={"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
          "max_position_embeddings": 512},
    joint=256,
    end_bias=8.0,
)  # fmt: skip
LARGE = Size(
    vision=BASE.vision
    | {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    text=BASE.text,
    joint=256,
    end_bias=8.0,
)


def vocabulary(size: Size, more: Sequence[str] = (), *, as_bert: bool = False) -> list[str]:
    """Words without `[DEC]` and `[ENC]`, made up; for the full sizes as many as bert-base-uncased has.

    `as_bert`: `[CLS]` is 101 and so on, as there.
    """
    if as_bert:
        first, *others = SPECIAL
        words = [first, *(f"[unused{i}]" for i in range(99)), *others]
        return [*words, *(word for word in vocabulary(size, more) if word not in SPECIAL)][:BERT_WORDS]
    letters = [*string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase), *string.digits]
    words = [*SPECIAL, *WORDS, *letters, *string.punctuation, *more]
    if size.text != BASE.text:
        return words
    return [*words, *LONGER_WORDS, *(f"word{i}" for i in range(BERT_WORDS - len(words) - len(LONGER_WORDS)))]


def build(
    folder: Path,
    size: Size = SMALL,
    *,
    kind: Kind = "retrieval",
    seed: int = 0,
    pickled: bool = False,
    layout: Layout = "2022",
    calm: bool = False,
    words: Sequence[str] = (),
    as_bert: bool = False,
) -> Path:
    """Writes a checkpoint of random weights, biases and norms perturbed, all seeded.

    Those that generate are drawn so that texts differ by image and prompt, and end by themselves, early and late;
    `calm` ones are not, and do not magnify float32's rounding as those do. `words`, `as_bert`: of the
    vocabulary.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = vocabulary(size, words, as_bert=as_bert)
    end = words.index("[SEP]")
    config = BlipConfig(
        architectures=[CLASSES[kind].__name__],
        image_text_hidden_size=size.joint,
        vision_config=size.vision,
        text_config=size.text | {"vocab_size": len(words) + 2, "bos_token_id": len(words), "sep_token_id": end},
    )
    config.save_pretrained(folder)
    calm = calm or kind == "retrieval"
    state = dict(_random_state(config, kind, calm, seed))
    if not calm:
        state["text_decoder.cls.predictions.bias"][end] += size.end_bias
    if pickled:
        torch.save(state | _old_extras(state, kind), folder / "pytorch_model.bin")
    else:
        save_file(state, folder / "model.safetensors", {"format": "pt"})
    (_write_2022 if layout == "2022" else _write_new)(folder, size, words)
    return folder


def _old_extras(state: dict[str, Tensor], kind: Kind) -> dict[str, Tensor]:
    """What old files hold beside the weights: positions counted, and tied weights once more."""
    if kind == "retrieval":
        return {"text_encoder.embeddings.position_ids": torch.arange(4)}
    return {
        "text_decoder.bert.embeddings.position_ids": torch.arange(4),
        "text_decoder.cls.predictions.decoder.weight": state["text_decoder.bert.embeddings.word_embeddings.weight"],
        "text_decoder.cls.predictions.decoder.bias": state["text_decoder.cls.predictions.bias"],
    }


def _random_state(config: BlipConfig, kind: Kind, calm: bool, seed: int) -> Iterator[tuple[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        parameters = dict(CLASSES[kind](config).named_parameters())
    vision, layer, embedding = _stds(config, kind, calm)
    for name, parameter in parameters.items():
        noise = torch.randn(parameter.shape, generator=generator)
        if "norm" in name.lower():
            yield name, 0.1 * noise + (1.0 if name.endswith("weight") else 0.0)
        elif name.endswith("bias"):
            yield name, 0.1 * noise
        else:
            yield name, noise * (vision if name.startswith("vision") else embedding if "embed" in name else layer)


def _stds(config: Any, kind: Kind, calm: bool) -> tuple[float, float, float]:
    """Standard deviations of vision weights, text layers and text embeddings."""
    if kind == "retrieval":
        return 0.02, 0.05, 0.05
    text = config.text_config
    if calm:
        return 0.02, 0.35 / text.hidden_size**0.5, 0.35 / text.hidden_size**0.5
    # deeper layers have smaller weights; else the output would not depend on the earlier words
    wide = 2.3 / text.hidden_size**0.5
    return 0.7 / config.vision_config.hidden_size**0.5, wide * 3 / text.num_hidden_layers, wide


def _write_2022(folder: Path, size: Size, words: list[str]) -> None:
    """`vocab.txt` of plain BERT, and a preprocessor whose `size` is a bare integer."""
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(
        json.dumps({f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")})
    )
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512})
    )
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "do_normalize": True,
                "do_resize": True,
                "image_processor_type": "BlipImageProcessor",
                "image_mean": CLIP_MEAN,
                "image_std": CLIP_STD,
                "resample": 3,
                "size": size.vision["image_size"],
            }
        )
    )


def _write_new(folder: Path, size: Size, words: list[str]) -> None:
    side = size.vision["image_size"]
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(words)})
    make: Any = BlipProcessor  # untyped
    processor = make(BlipImageProcessor(size={"height": side, "width": side}), tokenizer)
    processor.save_pretrained(folder)
