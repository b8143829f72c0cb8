"""Real picture files, and damaged copies of them, from a seed."""

import random
from collections.abc import Callable, Iterator
from io import BytesIO

from PIL import Image, features

from tests.support.pictures import encoded, picture

MOST_FLIPS = 16


def files() -> list[bytes]:
    """Small files of every format that is read, still and animated, with and without transparency."""
    image = picture(1, 48, 32)
    pale = image.copy()
    pale.putalpha(100)
    kinds = ["png", "jpeg", "gif", "bmp", "webp", *(["avif"] if features.check("avif") else [])]
    return [
        *(encoded(image, kind) for kind in kinds),
        *(encoded(pale, kind) for kind in ("png", "webp")),
        *(encoded(image.convert(mode), "png") for mode in ("L", "P", "1", "I;16")),
        encoded(image.convert("CMYK"), "jpeg"),
        _saved(image, "jpeg", progressive=True),
        _saved(image, "webp", lossless=True),
        *(_saved(image, kind, save_all=True, append_images=[picture(2, 48, 32)]) for kind in ("png", "gif", "webp")),
    ]


def damaged(seed: int) -> Iterator[bytes]:
    """Copies without end, each damaged one to three times."""
    generator = random.Random(seed)
    sound = files()
    while True:
        data = bytearray(generator.choice(sound))
        for _ in range(generator.randint(1, 3)):
            generator.choice(_DAMAGES)(data, generator)
        yield bytes(data)


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _flip_bits(data: bytearray, generator: random.Random) -> None:
    for _ in range(generator.randint(1, MOST_FLIPS) if data else 0):
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)


def _cut_off(data: bytearray, generator: random.Random) -> None:
    del data[generator.randint(0, len(data)) :]


def _cut_out(data: bytearray, generator: random.Random) -> None:
    start, end = _span(data, generator)
    del data[start:end]


def _swap(data: bytearray, generator: random.Random) -> None:
    """Two chunks of the file change places."""
    first, second, third, fourth = sorted(generator.randint(0, len(data)) for _ in range(4))
    data[first:fourth] = data[third:fourth] + data[second:third] + data[first:second]


def _repeat(data: bytearray, generator: random.Random) -> None:
    start, end = _span(data, generator)
    data[end:end] = data[start:end]


def _insert(data: bytearray, generator: random.Random) -> None:
    at = generator.randint(0, len(data))
    data[at:at] = generator.randbytes(generator.randint(1, 64))


def _set_extreme(data: bytearray, generator: random.Random) -> None:
    """Four bytes, of the head more often than not, become the numbers that break parsers."""
    at = generator.randrange(min(len(data), generator.choice((32, 64, 4096))) + 1)
    value = generator.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\1"))
    data[at : at + 4] = value


def _span(data: bytearray, generator: random.Random) -> tuple[int, int]:
    start, end = sorted(generator.randint(0, len(data)) for _ in range(2))
    return start, end


_DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip_bits,
    _flip_bits,
    _cut_off,
    _cut_out,
    _swap,
    _repeat,
    _insert,
    _set_extreme,
    _set_extreme,
)
