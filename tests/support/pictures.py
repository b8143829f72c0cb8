"""Pictures drawn from a seed."""

import base64
from io import BytesIO

import numpy as np
from PIL import Image


def picture(seed: int, width: int = 80, height: int = 60) -> Image.Image:
    """Smooth coloured noise: every part of it matters to a model."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "png") -> bytes:
    """The picture as a file's bytes."""
    file = BytesIO()
    image.save(file, kind)
    return file.getvalue()


def data_uri(image: Image.Image) -> str:
    """The picture as a data URI."""
    return "data:image/png;base64," + base64.b64encode(encoded(image)).decode()
