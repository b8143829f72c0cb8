"""Pictures and captions drawn from a seed: no two pictures alike, so that no cache knows them."""

import base64
from io import BytesIO

import numpy as np
from PIL import Image

from tests.support.checkpoints import WORDS

WIDTH, HEIGHT = 640, 480
OCTAVES = {(4, 3): 0.45, (16, 12): 0.25, (64, 48): 0.15, (320, 240): 0.15}
"""Layers of coloured noise, in cells, and their shares: like a photograph's, the finer the weaker."""
QUALITY = 90


class Pictures:
    """JPEG files of 640x480 pixels and about 100 kB."""

    def __init__(self, seed: int = 0) -> None:
        self._generator = np.random.default_rng(seed)

    def take(self, count: int) -> list[bytes]:
        """Pictures that nobody was given before."""
        return [self._draw() for _ in range(count)]

    def _draw(self) -> bytes:
        canvas = np.zeros((HEIGHT, WIDTH, 3), dtype=np.float32)
        for (width, height), share in OCTAVES.items():
            cells = self._generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
            layer = Image.fromarray(cells).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
            canvas += share * np.asarray(layer, dtype=np.float32)
        file = BytesIO()
        Image.fromarray(canvas.astype(np.uint8)).save(file, "jpeg", quality=QUALITY)
        return file.getvalue()


def data_url(picture: bytes) -> str:
    """The file as clients send it."""
    return "data:image/jpeg;base64," + base64.b64encode(picture).decode()


def captions(count: int, words: int = 10, seed: int = 0) -> list[str]:
    """Distinct captions of `words` words, each of which is one token."""
    generator = np.random.default_rng(seed)
    known = [word for word in WORDS if not word.startswith("##")]
    drawn: dict[str, None] = {}
    while len(drawn) < count:
        drawn[" ".join(generator.choice(known, words))] = None
    return list(drawn)
