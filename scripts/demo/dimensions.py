"""The dimensions of a checkpoint, and how its pixels are normalised. Knows no torch."""

from __future__ import annotations

from dataclasses import dataclass

PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)  # CLIP's, which BLIP normalises with
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Dimensions:
    """The dimensions of a checkpoint."""

    vocabulary: int
    image_size: int = 96
    patch: int = 12
    width: int = 128  # of the vision and of the text tower alike
    heads: int = 4
    vision_layers: int = 4
    text_layers: int = 3
    joint: int = 128
    positions: int = 64
    vision_inner: int = 512
    text_inner: int = 256

    @property
    def grid(self) -> int:
        return self.image_size // self.patch
