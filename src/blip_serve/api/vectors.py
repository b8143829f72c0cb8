"""A unit vector in the forms that clients ask for: base64, eight bits for each dimension, or one bit."""

import base64
import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

from blip_serve.tasks.embed import Vector

EmbeddingType = Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]

SCALE = 127
"""What a dimension, -1..1, is multiplied by for eight bits. The same for every vector, so that products compare."""


def packed(vector: Vector) -> str:
    """Base64 of little-endian float32."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def int8(vector: Vector) -> list[int]:
    """-127..127."""
    return [max(-SCALE, min(SCALE, round(SCALE * number))) for number in vector]


def uint8(vector: Vector) -> list[int]:
    """1..255: `int8` + 128."""
    return [number + 128 for number in int8(vector)]


def ubinary(vector: Vector) -> list[int]:
    """One bit for each dimension: 1 where it is above 0. Eight to a byte, the first the highest; 0..255."""
    bits = "".join("1" if number > 0 else "0" for number in vector)
    return [int(bits[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(bits), 8)]


def binary(vector: Vector) -> list[int]:
    """-128..127: `ubinary` - 128."""
    return [byte - 128 for byte in ubinary(vector)]


FORMS: Mapping[EmbeddingType, Callable[[Vector], object]] = MappingProxyType(
    {"float": list, "int8": int8, "uint8": uint8, "binary": binary, "ubinary": ubinary, "base64": packed}
)
"""A function for each form, by Cohere's name of it."""
