"""The result of a walk over a file's structure, and the limits of a walk. Knows no format."""

from dataclasses import dataclass

MAX_STEPS = 100_000
"""Limit of chunks, blocks or boxes in one file. A walk over so many takes about 50 ms.

A PNG may have one chunk per row, at most 65,535. Other files have hundreds.
"""
MAX_METADATA = 1024 * 1024
"""Limit in bytes for one metadata text, compressed and decompressed. Cameras and editors write a few kilobytes."""


@dataclass(frozen=True, slots=True)
class Essence:
    """The parts of an image file that make the picture. `data`: a file of the same format with only these parts.

    `exif`, `xmp`: the metadata with the orientation. Empty if the file has none, or if the decoder returns them.
    `ended`: `False` for a JPEG without an end marker. Only decoding can then tell whether its last pixels are there.
    `tables`: bytes of memory that the decoder may need in addition to the pixels.
    """

    data: bytes
    exif: bytes = b""
    xmp: bytes = b""
    ended: bool = True
    tables: int = 0
