"""What a checkpoint will take of memory: computed from its configuration and its files' headers, not from weights.

Where it can be, it is counted on the networks themselves, which are built without memory for that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from blip_serve.domain import CAPTION_TOKENS
from blip_serve.errors import CheckpointError
from blip_serve.memory import Footprint
from blip_serve.models.attention import CrossAttention, SelfAttention
from blip_serve.models.budget import cache_limits
from blip_serve.models.config import Config, check_memory, costs, read_config
from blip_serve.models.decoder import CHUNK, TextDecoder
from blip_serve.models.device import Device, name_of, open_device
from blip_serve.models.files import weight_files
from blip_serve.models.kv_cache import largest_bytes
from blip_serve.models.projected_images import MOST
from blip_serve.settings import Settings

FLOAT_BYTES = 4
SAFETENSORS_TYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


class Made(NamedTuple):
    """Tensors that a block makes of its input, by their width: the tower's, and the feed-forward's."""

    narrow: int
    wide: int


ALIVE = Made(2, 2)
"""Those alive at once: the widest layer's input and output, and what is added to it with its norm."""
VISION, TEXT = Made(12, 2), Made(18, 2)
"""All of them: input; query, key and value; what is attended to, in two orders; and each product, sum and norm.

On a CPU each has a place of its own. The C library looks for the smallest place that is large enough, and what was
freed in one block is the place of the same tensor in the next; few are large enough for another that comes later.
Seen of ViT-B in float32, in steps on images and then on texts: 0.93 of what is so foretold with the weights.
"""


class Kind(Protocol):
    """What is read of a model's class: the networks that it builds."""

    @property
    def network_class(self) -> Callable[[Config], nn.Module]:
        """What it serves with."""
        ...

    @property
    def reader_class(self) -> Callable[[Config], nn.Module]:
        """What it explains by."""
        ...


@dataclass(frozen=True, slots=True)
class Numbers:
    """Of a network: its `parameters`, those that are `joined` into layers of their own, and those `kept` twice.

    `decodes`: whether it generates texts.
    """

    parameters: int
    joined: int
    kept: int
    decodes: bool


def footprint_of(kind: Kind, folder: Path, settings: Settings) -> Footprint:
    """The footprint of the checkpoint in `folder`. Raises `CheckpointError`, and `ConfigurationError` as a load."""
    device, config = open_device(settings), read_config(folder)
    check_memory(config, folder / "config.json", device.dtype.itemsize, device.room)
    return footprint(kind, config, device, settings, number_types(folder))


def footprint(
    kind: Kind, config: Config, device: Device, settings: Settings, types: frozenset[str] = frozenset({"F32"})
) -> Footprint:
    """The footprint of a checkpoint of this configuration. `types`: the number types of its files."""
    numbers, read = _numbers(kind.network_class, config), _numbers(kind.reader_class, config)
    on_cpu = device.kind.type == "cpu"
    # A weight that is used as it is in the file stays mapped, and with it those that were joined.
    mapped = on_cpu and types == {SAFETENSORS_TYPES[device.dtype]}
    copies = numbers.joined if mapped else numbers.kept if device.kernels.fused else 0
    read_copies = read.joined if on_cpu and types == {"F32"} else 0
    at_once = MOST * device.depth  # each step under way may make as many as are kept
    kept = 0 if numbers.decodes else at_once * _projected(config, device)
    return Footprint(
        weights=(numbers.parameters + copies) * device.dtype.itemsize,
        slots=_slots(config, device, settings) if numbers.decodes else 0,
        caches=sum(cache_limits(settings)) + kept,
        step=_step(config, device, settings, numbers.decodes),
        explaining=(read.parameters + read_copies) * FLOAT_BYTES,
        dtype=name_of(device.dtype),
    )


def number_types(folder: Path) -> frozenset[str]:
    """The number types of a checkpoint's weights that can be mapped, in safetensors' words.

    Pickled files do not say it in a header. Those of the hub hold float32, and are mapped if they are archives.

    Raises `CheckpointError`.
    """
    found: set[str] = set()
    for file in weight_files(folder):
        if file.suffix != ".safetensors":
            found |= {"F32"} if is_zipfile(file) else {"pickled"}
            continue
        try:
            with safe_open(file, "pt") as opened:
                found |= {opened.get_slice(name).get_dtype() for name in opened.keys()}  # noqa: SIM118  # no mapping
        except (OSError, SafetensorError) as error:
            raise CheckpointError(file, f"not readable: {error}") from None
    return frozenset(found)


def _numbers(network_class: Callable[[Config], nn.Module], config: Config) -> Numbers:
    with torch.device("meta"):
        network = network_class(config)
    modules = list(network.modules())
    own = [_size(each.self) for each in modules if isinstance(each, SelfAttention)]
    seen = [_size(each.self.key) + _size(each.self.value) for each in modules if isinstance(each, CrossAttention)]
    words = [each.bert.embeddings.word_embeddings.weight.numel() for each in modules if isinstance(each, TextDecoder)]
    return Numbers(_size(network), sum(own + seen), sum(seen + words), bool(words))


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _slots(config: Config, device: Device, settings: Settings) -> int:
    """The KV cache when full, and the keys and values of as many images as a step projects."""
    cache = largest_bytes(config.text, device, settings.engine.max_sequences)
    return cache + (device.kernels.many_images - 1) * _projected(config, device)


def _projected(config: Config, device: Device) -> int:
    """An image's keys and values, of all layers."""
    text = config.text
    return config.shape.image_tokens * 2 * text.hidden_size * text.num_hidden_layers * device.dtype.itemsize


def _step(config: Config, device: Device, settings: Settings, decodes: bool) -> int:
    """The largest step: images to encode, or texts to read that cost as much as a step may."""
    most, text = settings.engine.max_step_cost, config.text
    images = max(1, most // costs(config, most).image)
    at_once = min(images, device.kernels.images_at_once)
    vision, tokens = config.vision, config.shape.image_tokens
    size, on_cpu = device.dtype.itemsize, device.kind.type == "cpu"
    seen, said = (VISION, TEXT) if on_cpu else (ALIVE, ALIVE)
    pixels = images * 3 * vision.image_size**2 * (2 * FLOAT_BYTES + size)
    block = seen.narrow * vision.hidden_size + seen.wide * vision.intermediate_size
    encode = pixels + (images * vision.hidden_size + at_once * block) * tokens * size
    block = said.narrow * text.hidden_size + said.wide * text.intermediate_size
    read = (most * CAPTION_TOKENS * block + tokens * 2 * text.hidden_size) * size
    logits = CHUNK * text.vocab_size * 2 * FLOAT_BYTES if decodes else 0
    return max(encode, read + logits)
