"""Pixels of pictures as BLIP's preprocessing gives them."""

from __future__ import annotations

from random import Random

import numpy as np
import torch
from torch import Tensor

from demo.dimensions import PIXEL_MEAN, PIXEL_STD
from demo.drawing import Layout, draw

_MEAN = torch.tensor(PIXEL_MEAN).view(3, 1, 1)
_STD = torch.tensor(PIXEL_STD).view(3, 1, 1)


def drawn(layouts: list[Layout], rng: Random) -> Tensor:
    """(B, 3, H, W), normalised."""
    pixels = np.stack([draw(layout, rng) for layout in layouts])  # (B, H, W, 3) bytes
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255.0 - _MEAN) / _STD
