"""Draws a map of numbers as heat over a picture, in viridis. Knows no models and no files of pictures."""

import base64
import io
from collections.abc import Sequence
from itertools import chain

from PIL import Image

Grid = Sequence[Sequence[float]]
"""Rows of numbers from 0 to 1 over an upright picture, top row first. Any number of rows, all of one length."""

RAMP = base64.b64decode(
    "RAFURAJVRANXRQVYRQZaRQhbRglcRgteRgxfRg5hRw9iRxFjRxJlRxRmRxVnRxZpRxhqSBlrSBpsSBxuSB1vSB5wSCBxSCFySCJzSCN0RyV1"
    "RyZ2Ryd3Ryh4Ryp5Ryt6Ryx7Ri18Ri98RjB9RjF+RTJ/RTR/RTWARTaBRDeBRDmCQzqDQzuDQzyEQj2EQj6FQkCFQUGGQUKGQEOHQESHP0WH"
    "P0eIPkiIPkmJPUqJPUuJPUyJPE2KPE6KO1CKO1GKOlKLOlOLOVSLOVWLOFaLOFeMN1iMN1mMNlqMNluMNVyMNV2MNF6NNF+NM2CNM2GNMmKN"
    "MmONMWSNMWWNMWaNMGeNMGiNL2mNL2qNLmuOLmyOLm2OLW6OLW+OLHCOLHGOLHKOK3OOK3SOKnWOKnaOKneOKXiOKXmOKHqOKHqOKHuOJ3yO"
    "J32OJ36OJn+OJoCOJoGOJYKOJYONJISNJIWNJIaNI4eNI4iNI4mNIomNIoqNIouNIYyNIY2MIY6MII+MIJCMIJGMH5KMH5OLH5SLH5WLH5aL"
    "HpeKHpiKHpmKHpmKHpqJHpuJHpyJHp2IHp6IHp+IHqCHH6GHH6KGH6OGIKSFIKWFIaaFIaeEIqeEI6iDI6mCJKqCJauBJqyBJ62AKK5/Ka9/"
    "KrB+K7F9LLF9LrJ8L7N7MLR6MrV6M7Z5Nbd4Nrh3OLl2Obl2O7p1Pbt0PrxzQL1yQr5xRL5wRb9vR8BuScFtS8JsTcJrT8NpUcRoU8VnVcZm"
    "V8ZlWcdkW8hiXslhYMlgYspfZMtdZ8xcacxba81Zbc5YcM5Wcs9VdNBUd9BSedFRfNJPftJOgdNMg9NLhtRJiNVHi9VGjdZEkNZDktdBldc/"
    "l9g+mtg8ndk6n9k4oto3pdo1p9szqtsyrdwwr9wust0std0rt90put4nvd4mv98kwt8ixd8hx+AfyuAezeAdz+Ec0uEb1OEa1+IZ2uIY3OIY"
    "3+MY4eMY5OMY5+QZ6eQZ7OQa7uUb8eUc8+Ue9uYf+OYh+uYi/eck"
)
"""Viridis as 256 colours of 3 bytes (red, green, blue), from dark violet to yellow: matplotlib's own table (CC0).

It grows lighter all along, so it reads the same to the colour-blind and in grey.
"""
OPAQUE = 0.8
"""Opacity where the map is 1: some of the picture still shows."""
_PALETTE = b"".join(bytes((*RAMP[3 * i : 3 * i + 3], round(OPAQUE * i))) for i in range(256))
"""The ramp with opacities, 256 colours of 4 bytes. Opacity grows in proportion to the map."""
LAYER_SIDE = 384
"""Pixels. The default of a layer's longest side."""


def heat_layer(grid: Grid, size: tuple[int, int], side: int = LAYER_SIDE) -> Image.Image:
    """The heat alone, to lay over a picture of `size` (width, height): transparent where the map is 0.

    Its longest side has `side` pixels, and it has the picture's proportions. It is a palette image with an opacity per
    colour (mode `P`): as a PNG file it is equal to that in RGBA, and half as large.
    """
    scale = side / max(size)
    shape = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    cells = Image.new("F", (len(grid[0]), len(grid)))
    cells.putdata(list(chain.from_iterable(grid)))
    layer = cells.resize(shape, Image.Resampling.BILINEAR).point(lambda value: value * 255 + 0.5).convert("L")
    layer.putpalette(_PALETTE, "RGBA")
    return layer


def heated(picture: Image.Image, grid: Grid) -> Image.Image:
    """An upright picture with the heat over it, in RGB and in the picture's size."""
    layer = heat_layer(grid, picture.size, max(picture.size)).convert("RGBA")
    under = picture.convert("RGB")
    under.paste(layer, mask=layer)
    return under


def strongest(grid: Grid) -> str:
    """Where the map is strongest, in words: "upper left", "upper", "middle" ...; "nowhere" for a map without heat."""
    value, row, column = max((value, -y, -x) for y, values in enumerate(grid) for x, value in enumerate(values))
    if value == 0:
        return "nowhere"
    down = ("upper", "", "lower")[_third(-row, len(grid))]
    across = ("left", "", "right")[_third(-column, len(grid[0]))]
    return f"{down} {across}".strip() or "middle"


def png_file(image: Image.Image) -> bytes:
    """The bytes of a PNG file."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)  # an answer may hold hundreds: a quarter of the time
    return file.getvalue()


def _third(cell: int, cells: int) -> int:
    """In which third of `cells` the middle of a cell lies."""
    return (2 * cell + 1) * 3 // (2 * cells)
