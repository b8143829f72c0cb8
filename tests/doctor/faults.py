"""The faults that a doctor must name, planted in a copy of a checkpoint, and the row that names each."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tests.support.checkpoints import Kind
from tests.support.damage import Damage, edit, edit_weights

State = dict[str, torch.Tensor]
TIED = "text_decoder.bert.embeddings.word_embeddings.weight"
UNTIED = "text_decoder.cls.predictions.decoder.weight"
WEIGHT = "vision_model.post_layernorm.weight"
WORDS = "text_encoder.embeddings.word_embeddings.weight"


@dataclass(frozen=True)
class Fault:
    """`row`: the name of the row that must fail; `seen`: words in it. `settings`: what the service is set to."""

    row: str
    damage: Damage
    seen: str = ""
    kind: Kind = "retrieval"
    settings: dict[str, Any] = field(default_factory=dict)


def config(section: str, **values: object) -> Damage:
    """Changes keys of a section of config.json."""
    return edit("config.json", lambda content: content[section].update(values))  # type: ignore[attr-defined]


def pixels(**values: object) -> Damage:
    """Changes keys of preprocessor_config.json."""
    return edit("preprocessor_config.json", lambda content: content.update(values))


def both(*damages: Damage) -> Damage:
    """Several at once."""
    return lambda folder: [damage(folder) for damage in damages]


def alter(state: State) -> None:
    """One number becomes its neighbour."""
    weight = state[WEIGHT]
    weight[0] = torch.nextafter(weight[0], torch.tensor(torch.inf, dtype=weight.dtype))


def exchange(state: State) -> None:
    """Match becomes no match."""
    for name in ("itm_head.weight", "itm_head.bias"):
        state[name] = state[name].flip(0)


def lengthen(state: State) -> None:
    """One word more than there are: another id is the last."""
    state[WORDS] = torch.cat([state[WORDS], state[WORDS][-1:]])


def truncate_words(folder: Path) -> None:
    """Half of the vocabulary."""
    (folder / "tokenizer.json").unlink(missing_ok=True)
    lines = (folder / "vocab.txt").read_text().splitlines()
    (folder / "vocab.txt").write_text("\n".join(lines[: len(lines) // 2]) + "\n")


def number(name: str, value: float) -> Callable[[State], object]:
    """One number of a weight."""

    def change(state: State) -> None:
        state[name] = state[name].float()
        state[name].view(-1)[0] = value

    return change


def faults(vocabulary: int, image_size: int) -> dict[str, Fault]:
    """Those in a checkpoint's files, of so many words; `image_size`: another than it has."""
    return {
        "one altered weight": Fault("model.safetensors", edit_weights(alter), f"{WEIGHT} differs"),
        "8 heads": Fault("text heads", config("text_config", num_attention_heads=8), "8"),
        "epsilon exchanged": Fault("vision layer_norm_eps", config("vision_config", layer_norm_eps=1e-6), "1e-06"),
        "CLIP's crop": Fault("no crop", pixels(do_center_crop=True, crop_size=image_size), "crop"),
        "exchanged ITM columns": Fault(
            "model.safetensors", edit_weights(exchange), "itm_head.weight has its columns exchanged"
        ),
        "untied decoder": Fault(
            "tied decoder", edit_weights(lambda s: s.update({UNTIED: s[TIED] * 1.5})), UNTIED, "captioning"
        ),
        "wrong [ENC]": Fault(
            "[ENC] id", both(config("text_config", vocab_size=vocabulary + 1), edit_weights(lengthen)), str(vocabulary)
        ),
        "truncated vocabulary": Fault("words", truncate_words, str(vocabulary // 2)[:2]),
        "wrong image size": Fault(
            "image size", both(config("vision_config", image_size=image_size), pixels(size=image_size)), str(image_size)
        ),
        "wrong mean": Fault("mean", pixels(image_mean=[0.5, 0.5, 0.5]), "0.5000"),
        "16-bit overflow": Fault(
            "numbers that fit float16",
            edit_weights(number("itm_head.bias", 1e6)),
            "model.safetensors: itm_head.bias",
            settings={"dtype": "float16"},
        ),
        "NaN": Fault("finite numbers", edit_weights(number(WEIGHT, torch.nan)), f"model.safetensors: {WEIGHT}"),
    }
