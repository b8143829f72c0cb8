"""Opens a checkpoint's folder: reads what every model needs of it, and builds the model's network."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from blip_serve.architectures import Architecture
from blip_serve.catalogue import ModelCard
from blip_serve.domain import Layer
from blip_serve.errors import DeviceLost
from blip_serve.images.decode import Decoder
from blip_serve.models.budget import cache_limits
from blip_serve.models.config import Config, Costs, check_memory, costs, is_small, read_config
from blip_serve.models.device import Device, open_device
from blip_serve.models.image_cache import ImageCache
from blip_serve.models.image_encoder import ImageEncoder
from blip_serve.models.processing import PixelFormat, read_pixel_format
from blip_serve.models.tokenizing import CaptionTokenizer
from blip_serve.models.vision import VisionTower
from blip_serve.models.weights import load_weights
from blip_serve.settings import Settings
from blip_serve.telemetry import Telemetry

NetworkT = TypeVar("NetworkT", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Checkpoint(Generic[NetworkT]):
    """A checkpoint on a device. `card` is complete: it also has what only the checkpoint's files say."""

    folder: Path
    network: NetworkT
    config: Config
    costs: Costs
    device: Device
    tokenizer: CaptionTokenizer
    pixel_format: PixelFormat
    cache: ImageCache
    decoder: Decoder
    card: ModelCard
    telemetry: Telemetry

    def image_encoder(self, tower: VisionTower, vectors: Callable[[Tensor], Tensor] | None = None) -> ImageEncoder:
        """The phase `encode`, by the network's vision tower. `vectors`: see `ImageEncoder`."""
        return ImageEncoder(tower, vectors, self.device, self.pixel_format, self.cache, self.decoder, self.costs.image)


def open_checkpoint(
    network_class: Callable[[Config], NetworkT],
    architecture: Architecture,
    folder: Path,
    card: ModelCard,
    settings: Settings,
    decoder: Decoder,
    telemetry: Telemetry,
) -> Checkpoint[NetworkT]:
    """Loads the checkpoint in `folder`, of the given architecture, onto the settings' device.

    Raises `CheckpointError` naming the file and the reason, `ConfigurationError` if the device is missing, and
    `DeviceLost` if it stopped working.
    """
    device = open_device(settings)
    config = read_config(folder)
    check_memory(config, folder / "config.json", device.dtype.itemsize, device.room)
    if is_small(config) and not settings.threads:
        device = replace(device, threads=1)
    for fact in card.differences(config.shape):
        telemetry.log.warning("checkpoint_differs_from_card", model=card.id, fact=fact)
    tokenizer = CaptionTokenizer(folder, config.text)
    pixel_format = read_pixel_format(folder, config.vision.image_size)
    with torch.device("meta"):
        network = network_class(config)
    parameters = sum(parameter.numel() for parameter in network.parameters())  # counted before some are joined
    try:
        load_weights(network, folder, device)
    except torch.AcceleratorError as error:
        raise DeviceLost(str(error)) from error
    cache = ImageCache(*cache_limits(settings))
    for kind, kept in (("tokens", cache.tokens), ("vectors", cache.vectors)):
        telemetry.watch_cache(card.id, kind, kept, lambda kept: kept.size)
    telemetry.watch_device(device.memory)
    known = replace(
        card,
        architecture=card.architecture or architecture,
        parameters=parameters,
        shape=config.shape,
        explain_layer=_explain_layer(card.explain_layer, config.text.num_hidden_layers),
    )
    return Checkpoint(
        folder,
        network,
        config,
        costs(config, settings.engine.max_step_cost),
        device,
        tokenizer,
        pixel_format,
        cache,
        decoder,
        known,
        telemetry,
    )


def _explain_layer(known: Layer | None, layers: int) -> Layer:
    """The layer of the card, unless the checkpoint has none such: then the middle one, as LAVIS does for 12 layers."""
    return known if known == "all" or (known is not None and known < layers) else layers // 2
