"""What the models of the settings take of memory in each number type, whether they fit, and how fast they should be."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from blip_serve.catalogue import DTYPE_BYTES, Shape
from blip_serve.errors import CheckpointError
from blip_serve.fit import Fit
from blip_serve.memory import Footprint
from blip_serve.models.budget import budget
from blip_serve.models.config import Config, config_of, read_config
from blip_serve.models.device import name_of, open_device
from blip_serve.models.footprint import Kind, footprint, number_types
from blip_serve.models.speed import measured
from blip_serve.settings import Settings

SECONDS = 5.0
"""Time of the measurement."""

Asked = tuple[Kind, Path | None, Shape | None, bool]
"""A model's class, its folder if that is here, else its shape; and whether it is preloaded."""


def fits(asked: Sequence[Asked], settings: Settings) -> list[list[Fit]]:
    """For each model a fit for each number type; none if its configuration cannot be read."""
    device = open_device(settings)
    devices = {name: replace(device, dtype=getattr(torch, name)) for name in DTYPE_BYTES}
    speeds = {name: measured(each, SECONDS / len(devices)) for name, each in devices.items()}
    room, own = budget(settings), name_of(device.dtype)
    found = [_footprints(kind, folder, shape, settings) for kind, folder, shape, _ in asked]
    pinned = [each[1][own].held if each and preload else 0 for each, (*_, preload) in zip(found, asked, strict=True)]
    return [
        []
        if each is None
        else [
            Fit.of(taken, taken.held + sum(pinned) - itself <= room, speeds[name].pairs(each[0]))
            for name, taken in each[1].items()
        ]
        for each, itself in zip(found, pinned, strict=True)
    ]


def _footprints(
    kind: Kind, folder: Path | None, shape: Shape | None, settings: Settings
) -> tuple[Config, dict[str, Footprint]] | None:
    """A model's configuration, and its footprint by number type."""
    device = open_device(settings)
    try:
        config = read_config(folder) if folder is not None else None if shape is None else config_of(shape)
        types = frozenset({"F32"}) if folder is None else number_types(folder)
    except CheckpointError:
        return None
    if config is None:
        return None
    devices = {name: replace(device, dtype=getattr(torch, name)) for name in DTYPE_BYTES}
    return config, {name: footprint(kind, config, each, settings, types) for name, each in devices.items()}
