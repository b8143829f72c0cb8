"""A checkpoint's configuration, as the typed values that our networks need."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

from blip_serve.catalogue import Shape
from blip_serve.domain import CAPTION_TOKENS
from blip_serve.errors import CheckpointError
from blip_serve.lazily import imported
from blip_serve.models.files import read_json
from blip_serve.models.layers import ACTIVATIONS

COMPLETE = "transformers:BlipConfig"
SMALL = 10**9
"""Multiplications for an image, below which a model is small. They take a core a few milliseconds."""

NO_SIZES = ("layer_norm_eps", "hidden_act", "bos_token_id", "sep_token_id")
"""Keys of a tower that are not sizes or counts."""
VOCABULARY = 30524
"""Tokens of the catalogue's checkpoints: bert-base-uncased's, `[DEC]` and `[ENC]`."""
MAX_LAYERS = 1000
"""More layers would take minutes to build, before any weight is allocated."""


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """The vision tower's numbers; sizes in pixels."""

    image_size: int
    patch_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    layer_norm_eps: float
    hidden_act: str


@dataclass(frozen=True, slots=True)
class TextConfig:
    """The text tower's numbers. There is no `is_decoder`, since our tower always has cross-attention."""

    vocab_size: int
    hidden_size: int
    encoder_hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    max_position_embeddings: int
    layer_norm_eps: float
    hidden_act: str
    bos_token_id: int
    sep_token_id: int


@dataclass(frozen=True, slots=True)
class Config:
    """Both towers' numbers, and the width of the joint space. `shape`: the part that model cards have."""

    vision: VisionConfig
    text: TextConfig
    joint_width: int
    shape: Shape


@dataclass(frozen=True, slots=True)
class Costs:
    """What encoding and projecting an image cost, in captions of `CAPTION_TOKENS` tokens through the text tower."""

    image: int
    projection: int


def is_small(config: Config) -> bool:
    """Whether the model should compute by one thread. A second one would mostly wait for the first.

    With the embedded checkpoint and 2 cores, 16 clients with new images get 186 to 205 pairs a second by one thread,
    since the other core decodes meanwhile, and 141 to 168 by two. With known images both are equal.
    """
    return _multiplications(config) < SMALL


def costs(config: Config, max_step_cost: int) -> Costs:
    """The costs, from the multiplications of each part: 38 and 6 for ViT-B at 384 px, 129 and 8 for ViT-L.

    So that every work fits into a step, an image costs at most a whole step, and its projection at most half of one.
    """
    text, tokens = config.text, config.shape.image_tokens
    layer = 6 * text.hidden_size**2 + 2 * text.hidden_size * text.intermediate_size
    caption = CAPTION_TOKENS * text.num_hidden_layers * layer
    projection = 2 * tokens * text.num_hidden_layers * text.encoder_hidden_size * text.hidden_size
    image = -(-_multiplications(config) // caption)
    return Costs(image=min(image, max_step_cost), projection=min(-(-projection // caption), max_step_cost // 2))


def pair_multiplications(config: Config) -> int:
    """Multiplications of a new image and one caption, which is read without projecting the image."""
    text, tokens = config.text, config.shape.image_tokens
    layer = 6 * text.hidden_size**2 + 2 * text.hidden_size * text.intermediate_size
    seen = 2 * text.num_attention_heads * tokens * text.encoder_hidden_size
    return _multiplications(config) + CAPTION_TOKENS * text.num_hidden_layers * (layer + seen)


def config_of(shape: Shape) -> Config:
    """The configuration of a checkpoint of which only the card is here, as all of the catalogue's are but for that."""
    vision = VisionConfig(
        image_size=shape.image_size,
        patch_size=shape.patch_size,
        hidden_size=shape.vision_width,
        intermediate_size=4 * shape.vision_width,
        num_hidden_layers=shape.vision_layers,
        num_attention_heads=shape.vision_heads,
        layer_norm_eps=1e-5,
        hidden_act="gelu",
    )
    text = TextConfig(
        vocab_size=VOCABULARY,
        hidden_size=shape.text_width,
        encoder_hidden_size=shape.vision_width,
        intermediate_size=4 * shape.text_width,
        num_hidden_layers=shape.text_layers,
        num_attention_heads=shape.text_heads,
        max_position_embeddings=shape.text_positions,
        bos_token_id=VOCABULARY - 2,
        sep_token_id=102,
        layer_norm_eps=1e-5,
        hidden_act="gelu",
    )
    return Config(vision, text, shape.joint_width, shape)


def _multiplications(config: Config) -> int:
    """Multiplications of the vision tower for an image."""
    return config.vision.num_hidden_layers * block_multiplications(config.vision, config.shape.image_tokens)


def block_multiplications(vision: VisionConfig, tokens: int) -> int:
    """Multiplications of one block of the vision tower for an image of so many tokens."""
    width = vision.hidden_size
    return tokens * (4 * width**2 + 2 * width * vision.intermediate_size) + 2 * tokens**2 * width


def read_config(folder: Path) -> Config:
    """The checkpoint's configuration. Raises `CheckpointError` naming the file and the key.

    What a file leaves out is completed by transformers. Most leave out nothing, and importing it takes two seconds.
    """
    file = folder / "config.json"
    content = read_json(file)
    if content.get("model_type") != "blip":
        raise CheckpointError(file, f"model_type: expected blip, found {content.get('model_type')}")
    try:
        complete = content if _is_complete(content) else imported(COMPLETE).from_dict(content).to_dict()
    except Exception as error:  # transformers raises many kinds for a wrong field
        raise CheckpointError(file, " ".join(str(error).split())) from None
    vision = VisionConfig(**_of(complete["vision_config"], VisionConfig))
    text = TextConfig(**_of(complete["text_config"], TextConfig))
    config = Config(
        vision=vision,
        text=replace(text, encoder_hidden_size=vision.hidden_size),  # as transformers does
        joint_width=complete["image_text_hidden_size"],
        shape=Shape.of(complete),
    )
    _check(config, file)
    return config


def _is_complete(content: Mapping[str, Any]) -> bool:
    """Whether all that we read is there, each value of its type."""
    return type(content.get("image_text_hidden_size")) is int and all(
        isinstance(section := content.get(name), dict)
        and all(type(section.get(key)) is kind for key, kind in get_type_hints(part).items())
        for name, part in (("vision_config", VisionConfig), ("text_config", TextConfig))
    )


def check_memory(config: Config, file: Path, number_bytes: int, memory: int) -> None:
    """Raises `CheckpointError` if the sizes need more than the device's `memory` bytes, before any are allocated."""
    needed = _numbers(config) * number_bytes
    if needed > memory:
        raise CheckpointError(
            file, f"its sizes take {needed / 1e9:,.1f} GB or more, the device has {memory / 1e9:,.1f} GB"
        )


def _numbers(config: Config) -> int:
    """How many numbers a model needs at least: those of its largest matrices, and of an image's widest layer."""
    vision, text, tokens = config.vision, config.text, config.shape.image_tokens
    vision_layer = 4 * vision.hidden_size**2 + 2 * vision.hidden_size * vision.intermediate_size
    text_layer = 4 * text.hidden_size**2 + 2 * text.hidden_size * text.intermediate_size
    text_layer += 2 * text.hidden_size * text.encoder_hidden_size
    embeddings = (3 * vision.patch_size**2 + tokens) * vision.hidden_size
    embeddings += (text.vocab_size + text.max_position_embeddings) * text.hidden_size
    joint = (vision.hidden_size + text.hidden_size) * config.joint_width
    image = 3 * vision.image_size**2 + tokens * max(vision.intermediate_size, tokens)
    layers = vision.num_hidden_layers * vision_layer + text.num_hidden_layers * text_layer
    return layers + embeddings + joint + image


def _of(section: dict[str, Any], kind: type[VisionConfig] | type[TextConfig]) -> dict[str, Any]:
    return {name: section[name] for name in kind.__slots__}


def _check(config: Config, file: Path) -> None:
    """Raises `CheckpointError` if the networks cannot be built from this."""
    for name, part in (("vision_config", config.vision), ("text_config", config.text)):
        if fault := _fault(part):
            raise CheckpointError(file, f"{name}.{fault}")
    if config.joint_width < 1:
        raise CheckpointError(file, "image_text_hidden_size: must be at least 1")
    if config.vision.image_size % config.vision.patch_size:
        raise CheckpointError(file, "vision_config.image_size: must be a whole number of patches")


def _fault(part: VisionConfig | TextConfig) -> str | None:
    """The first key that keeps a tower from being built, and the reason."""
    sizes = [key for key in part.__slots__ if key not in NO_SIZES]
    if no_sizes := [key for key in sizes if type(getattr(part, key)) is not int or getattr(part, key) < 1]:
        return f"{no_sizes[0]}: must be a whole number of at least 1"
    if part.num_hidden_layers > MAX_LAYERS:
        return f"num_hidden_layers: {part.num_hidden_layers} is over {MAX_LAYERS}"
    if part.hidden_size % part.num_attention_heads:
        return "num_attention_heads: does not divide hidden_size"
    if not 0 < part.layer_norm_eps < 1:
        return "layer_norm_eps: must be between 0 and 1"
    if part.hidden_act not in ACTIVATIONS:
        return f"hidden_act: {part.hidden_act} is not one of {', '.join(ACTIVATIONS)}"
    return None
