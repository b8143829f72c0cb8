"""HEIC files whose tiles would take long to decode for the size of the picture."""

import struct

import pytest
from PIL import Image

from blip_serve.images.structure import heic
from tests.images.samples import file_bytes

GRID = file_bytes(Image.effect_noise((256, 128), 50).convert("RGB"), "HEIC", tile_size=64)
PLAIN = file_bytes(Image.new("RGB", (128, 64)), "HEIC")


def changed(data: bytes, at: int, patch: bytes) -> bytes:
    return data[:at] + patch + data[at + len(patch) :]


def test_a_sound_file_is_left_as_it_is() -> None:
    for data, size in ((GRID, (256, 128)), (PLAIN, (128, 64))):
        assert heic.essence(data).data is data
        assert heic.size(data) == size


def test_a_tile_that_is_used_twice_is_refused() -> None:
    at = GRID.index(b"dimg") + 8
    first, second = struct.unpack_from(">HH", GRID, at)
    assert first != second
    with pytest.raises(ValueError, match="used twice"):
        heic.essence(changed(GRID, at + 2, first.to_bytes(2)))


def test_tiles_much_larger_than_the_picture_are_refused() -> None:
    tile = GRID.rindex(b"ispe") + 8
    assert struct.unpack_from(">II", GRID, tile) == (64, 64)
    assert heic.essence(changed(GRID, tile, struct.pack(">II", 128, 128))).data  # 8 of half the picture: 4 times it
    with pytest.raises(ValueError, match="too many tiles"):
        heic.essence(changed(GRID, tile, struct.pack(">II", 136, 128)))


def test_the_largest_item_counts() -> None:
    tile = GRID.rindex(b"ispe") + 8
    assert heic.size(changed(GRID, tile, struct.pack(">II", 30_000, 30_000))) == (30_000, 30_000)


@pytest.mark.parametrize("name", [b"ispe", b"ipco"])
def test_a_file_without_sizes_is_refused(name: bytes) -> None:
    with pytest.raises(ValueError, match=r"empty|no properties"):
        heic.essence(PLAIN.replace(name, b"skip"))


def test_an_association_beyond_the_properties_is_refused() -> None:
    at = PLAIN.index(b"ipma") + 4 + 8 + 3
    with pytest.raises(IndexError):
        heic.essence(changed(PLAIN, at, b"\x7f"))
