"""Large photographs, drawn: JPEG files of 12 megapixels, as phones make them."""

from io import BytesIO

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 4000, 3000
OCTAVES = {(4, 3): 0.45, (32, 24): 0.25, (256, 192): 0.15, (2000, 1500): 0.15}
"""Layers of coloured noise, in cells, and their shares: the finer the weaker."""
QUALITY = 90


def photos(count: int, seed: int = 0) -> list[bytes]:
    """No two alike. Each takes half a second to draw."""
    generator = np.random.default_rng(seed)
    return [_draw(generator) for _ in range(count)]


def _draw(generator: np.random.Generator) -> bytes:
    canvas = np.zeros((HEIGHT, WIDTH, 3), dtype=np.float32)
    for (width, height), share in OCTAVES.items():
        cells = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        layer = Image.fromarray(cells).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
        canvas += share * np.asarray(layer, dtype=np.float32)
    file = BytesIO()
    Image.fromarray(canvas.astype(np.uint8)).save(file, "jpeg", quality=QUALITY)
    return file.getvalue()
