"""The known checkpoints and their cards, as the models page shows them. Loads nothing."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blip_serve.architectures import ANSWERING, ARCHITECTURES, CAPTIONING, RETRIEVAL, Architecture
from blip_serve.calibration import Calibration
from blip_serve.domain import Layer, ScoringProtocol

EMBEDDED = Path(__file__).parent / "checkpoints"
"""Folder of the checkpoints and pictures that ship in the package."""

DEMOS = ("demo-retrieval", "demo-captioning", "demo-vqa")
"""Those checkpoints' folders."""

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True)
class Shape:
    """The numbers of an architecture that a configuration must agree with; image sizes in pixels."""

    image_size: int
    patch_size: int
    vision_width: int
    vision_layers: int
    vision_heads: int
    text_width: int
    text_layers: int
    text_heads: int
    text_positions: int
    joint_width: int

    @property
    def image_tokens(self) -> int:
        """Vision tokens of an image: its patches and the class token."""
        return (self.image_size // self.patch_size) ** 2 + 1

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Shape":
        """From a complete configuration (`BlipConfig.to_dict()`)."""
        vision, text = config["vision_config"], config["text_config"]
        return cls(
            image_size=vision["image_size"],
            patch_size=vision["patch_size"],
            vision_width=vision["hidden_size"],
            vision_layers=vision["num_hidden_layers"],
            vision_heads=vision["num_attention_heads"],
            text_width=text["hidden_size"],
            text_layers=text["num_hidden_layers"],
            text_heads=text["num_attention_heads"],
            text_positions=text["max_position_embeddings"],
            joint_width=config["image_text_hidden_size"],
        )


@dataclass(frozen=True, slots=True)
class Facts:
    """What a checkpoint's files say beside its sizes, where a wrong value changes answers in silence.

    `vocabulary`: ids of the text tower; the last is `[ENC]`. `words`: how many of them the tokenizer's files may have.
    `decoder_id`: `[DEC]`, which begins a text; `start_id`, `end_id`, `pad_id`: `[CLS]`, `[SEP]` and `[PAD]`.
    """

    vocabulary: int
    words: tuple[int, ...]
    decoder_id: int
    start_id: int
    end_id: int
    pad_id: int = 0
    vision_epsilon: float = 1e-5
    text_epsilon: float = 1e-12


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known of a checkpoint without loading it.

    `architecture`: `None` if it is known only after a load. `parameters` counts tied weights once. `folder` is set if
    the checkpoint ships in the package. `metrics` are figures measured on the checkpoint, as its own card gives them.
    `explain_layer`: the text tower's layer whose attention shows best where an image has a word. `calibrations`: those
    that the settings name, once it is loaded.
    """

    id: str
    architecture: Architecture | None = None
    description: str = ""
    licence: str | None = None
    parameters: int | None = None
    shape: Shape | None = None
    created: int = 0
    folder: Path | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    explain_layer: Layer | None = None
    facts: Facts | None = None
    calibrations: Mapping[ScoringProtocol, Calibration] = field(default_factory=dict)

    @property
    def memory(self) -> Mapping[str, int]:
        """Bytes its weights take, by number type."""
        return {} if self.parameters is None else {name: self.parameters * n for name, n in DTYPE_BYTES.items()}

    def differences(self, found: Shape) -> list[str]:
        """Where a configuration disagrees with this card, a line each. The configuration is what counts."""
        if self.shape is None:
            return []
        return [
            f"{name}: {getattr(found, name)}, the card says {getattr(self.shape, name)}"
            for name in Shape.__slots__
            if getattr(found, name) != getattr(self.shape, name)
        ]


_BASE = Shape(384, 16, 768, 12, 12, 768, 12, 12, 512, 256)
_LARGE = Shape(384, 16, 1024, 24, 16, 768, 12, 12, 512, 256)
_BERT = Facts(vocabulary=30524, words=(30522, 30524), decoder_id=30522, start_id=101, end_id=102)
"""bert-base-uncased with `[DEC]` and `[ENC]`, which the tokenizer's files may lack."""
_EXPLAIN_LAYER = (
    6  # salesforce/LAVIS:lavis/models/blip_models/blip_image_text_matching.py, block_num of compute_gradcam
)
_EMBEDDED_SINCE = 1795132800  # 20 November 2026
_PUBLISHED = 1670803200  # 12 December 2022, when the checkpoints came to the hub


def _salesforce(name: str, architecture: Architecture, shape: Shape, parameters: int, description: str) -> ModelCard:
    return ModelCard(
        f"Salesforce/{name}",
        architecture,
        description,
        "bsd-3-clause",
        parameters,
        shape,
        created=_PUBLISHED,
        explain_layer=_EXPLAIN_LAYER,
        facts=_BERT,
    )


def known_cards() -> dict[str, ModelCard]:
    """Every checkpoint of the catalogue by id: the embedded ones, and Salesforce's eight."""
    cards = [
        *map(embedded_card, DEMOS),
        _salesforce("blip-itm-base-coco", RETRIEVAL, _BASE, 223_744_258, "Matching, ViT-B, fine-tuned on COCO"),
        _salesforce("blip-itm-base-flickr", RETRIEVAL, _BASE, 223_744_258, "Matching, ViT-B, fine-tuned on Flickr30k"),
        _salesforce("blip-itm-large-coco", RETRIEVAL, _LARGE, 446_128_642, "Matching, ViT-L, fine-tuned on COCO"),
        _salesforce(
            "blip-itm-large-flickr", RETRIEVAL, _LARGE, 446_128_642, "Matching, ViT-L, fine-tuned on Flickr30k"
        ),
        _salesforce("blip-image-captioning-base", CAPTIONING, _BASE, 223_971_644, "Captions, ViT-B"),
        _salesforce("blip-image-captioning-large", CAPTIONING, _LARGE, 446_290_492, "Captions, ViT-L"),
        _salesforce("blip-vqa-base", ANSWERING, _BASE, 361_230_140, "Visual question answering, ViT-B"),
        _salesforce(
            "blip-vqa-capfilt-large", ANSWERING, _BASE, 361_230_140, "Visual question answering, ViT-B, CapFilt-L"
        ),
    ]
    return {card.id: card for card in cards}


def embedded_card(name: str) -> ModelCard:
    """The card of a checkpoint that ships in the package, from the `card.json` and `config.json` beside its weights."""
    folder = EMBEDDED / name
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return ModelCard(
        id=card["id"],
        architecture=ARCHITECTURES[config["architectures"][0]],
        description=card["description"],
        licence=card["licence"],
        parameters=card["training"]["parameters"],
        shape=Shape.of(config),
        created=_EMBEDDED_SINCE,
        folder=folder,
        metrics=card["metrics"],
        explain_layer=card["explain"]["layer"],
        facts=_facts(config["text_config"]),
    )


def _facts(text: Mapping[str, Any]) -> Facts:
    """Of an embedded checkpoint: its vocabulary holds `[DEC]` and `[ENC]`; BERT's special words are first."""
    count = text["vocab_size"]
    return Facts(count, (count,), text["bos_token_id"], start_id=2, end_id=text["sep_token_id"])


def resolve(name: str, ids: Iterable[str]) -> str | None:
    """The id that `name` means: itself, or the only id of the form `owner/name`. `None` if there is no such id."""
    ids = list(ids)
    if name in ids:
        return name
    without_owner = [known for known in ids if known.partition("/")[2] == name]
    return without_owner[0] if len(without_owner) == 1 else None
