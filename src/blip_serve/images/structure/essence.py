"""What a walk over a file's structure finds, and how far it goes. Knows no format."""

from dataclasses import dataclass

MAX_STEPS = 100_000
"""Chunks, blocks or boxes in one file; a walk takes some 50 ms for them.

A PNG may have a chunk for each of its rows, 65,535 at most; other files have hundreds.
"""
MAX_METADATA = 1024 * 1024
"""Bytes of one text that are looked at, as they stand and inflated. Cameras and editors write some kilobytes."""


@dataclass(frozen=True, slots=True)
class Essence:
    """What makes the picture: a file of the same format, and what says which way up it is.

    `exif` and `xmp` are empty where the file has none, or where the decoder gives them. `ended` is false for a JPEG
    that stops before the marker that ends it: whether its last pixels are there only decoding it can tell. `tables`:
    bytes that the decoder may need beside the pixels.
    """

    data: bytes
    exif: bytes = b""
    xmp: bytes = b""
    ended: bool = True
    tables: int = 0
