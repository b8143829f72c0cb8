"""Rows of different lengths as one tensor."""

from __future__ import annotations

import torch
from torch import Tensor

NO_LABEL = -100  # what cross_entropy ignores


def padded(rows: list[list[int]], *, filler: int = 0, width: int = 0) -> Tensor:
    """(N, T), filled on the right up to the longest row, or up to `width` where that is more."""
    width = max(width, *map(len, rows))
    return torch.tensor([row + [filler] * (width - len(row)) for row in rows])
