"""A checkpoint's own preprocessing: from pictures to pixels. Runs on worker threads, without torch.

The pixels equal those of transformers' `BlipImageProcessor` with the PIL backend.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from blip_serve.errors import CheckpointError
from blip_serve.models.files import read_json

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

STEPS = {"do_resize": True, "do_rescale": True, "do_normalize": True, "do_center_crop": False}
"""What a checkpoint's preprocessor must do (true) and must not do (false). Others are refused."""
STATISTICS = {"image_mean": CLIP_MEAN, "image_std": CLIP_STD}


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How a picture becomes numbers: resized to `size` x `size`, then (value / 255 - mean) / std."""

    size: int
    resample: Image.Resampling = Image.Resampling.BICUBIC
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD

    def pixels(self, picture: Image.Image) -> NDArray[np.uint8]:
        """(size, size, 3) bytes of an RGB picture. Its aspect ratio is not kept."""
        resized = picture.resize((self.size, self.size), self.resample)
        return np.array(resized, dtype=np.uint8)


def read_pixel_format(folder: Path, image_size: int) -> PixelFormat:
    """Reads the pixel format as transformers does: from `processor_config.json`, else `preprocessor_config.json`.

    Raises `CheckpointError` if it asks for what is not supported, or does not fit the vision tower's `image_size`.
    """
    file, content = read_preprocessor(folder)
    size = _side(content.get("size", image_size))
    if size != image_size:
        raise CheckpointError(file, f"size: {size} does not fit config.json, whose image_size is {image_size}")
    for step, expected in STEPS.items():
        if content.get(step, expected) is not expected:
            raise CheckpointError(file, f"{step}: must be {str(expected).lower()}")
    if not math.isclose(content.get("rescale_factor", 1 / 255), 1 / 255, rel_tol=1e-6):
        raise CheckpointError(file, "rescale_factor: must be 1/255")
    try:
        resample = Image.Resampling(content.get("resample", Image.Resampling.BICUBIC))
    except ValueError:
        raise CheckpointError(file, f"resample: {content['resample']} is none of Pillow's") from None
    mean, std = (_channels(content.get(name, default), file, name) for name, default in STATISTICS.items())
    return PixelFormat(image_size, resample, mean, std)


def read_preprocessor(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The file that describes the preprocessing, and its content.

    transformers 5 writes it into `processor_config.json`, as `image_processor`. transformers 4 writes a file of that
    name too, but without `image_processor`.
    """
    new = folder / "processor_config.json"
    content = read_json(new).get("image_processor") if new.exists() else None
    if content is None:
        old = folder / "preprocessor_config.json"
        return old, read_json(old)
    if not isinstance(content, dict):
        raise CheckpointError(new, "image_processor: not a JSON object")
    return new, content


def _channels(value: Any, file: Path, name: str) -> tuple[float, ...]:
    """Three numbers. A single one counts for all three."""
    numbers = [value] * 3 if isinstance(value, int | float) else value
    if not isinstance(numbers, list | tuple) or [type(number) in (int, float) for number in numbers] != [True] * 3:
        raise CheckpointError(file, f"{name}: must be three numbers")
    return tuple(float(number) for number in numbers)


def _side(size: Any) -> int | None:
    """The side of the square: `size` is an object or, in old files, a bare integer."""
    if isinstance(size, dict):
        height, width = size.get("height", size.get("shortest_edge")), size.get("width", size.get("shortest_edge"))
        return height if isinstance(height, int) and height == width else None
    return size if isinstance(size, int) else None
