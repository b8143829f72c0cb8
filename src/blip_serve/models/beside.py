"""A part of a checkpoint a second time, in float32 and loaded on first use, for what the fused layers cannot do."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import nn

from blip_serve.models.device import Device
from blip_serve.models.weights import load_part

NetworkT = TypeVar("NetworkT", bound=nn.Module)


class Beside(Generic[NetworkT]):
    """The part of the checkpoint in `folder` that `build` names. Gradients pass through its layers."""

    def __init__(self, build: Callable[[], NetworkT], folder: Path, device: Device) -> None:
        self._build = build
        self._folder = folder
        self._device = replace(device, dtype=torch.float32)
        self._lock = threading.Lock()
        self._network: NetworkT | None = None

    def loaded(self) -> NetworkT:
        """The network. The first call loads it; others wait for that. See `Model.missing` for where it is called.

        Raises `CheckpointError`, `OutOfMemory` and `DeviceLost`.
        """
        with self._lock:
            if self._network is None:
                with self._device.computing(), torch.device("meta"):
                    network = self._build()
                with self._device.computing():
                    load_part(network, self._folder, self._device)
                self._network = network
            return self._network

    @property
    def is_loaded(self) -> bool:
        """Whether `loaded` returns at once."""
        return self._network is not None

    @property
    def bytes(self) -> int:
        """What its weights take; 0 before it is loaded."""
        network = self._network
        return 0 if network is None else sum(weight.nbytes for weight in network.parameters())
