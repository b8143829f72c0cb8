"""Heat over a picture: where it lies, what shows through, and how small its file is."""

import io

import numpy as np
import pytest
from PIL import Image

from blip_serve.heat import OPAQUE, RAMP, heat_layer, heated, png_file, strongest

CORNER = [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
"""A map whose heat is in the upper right corner."""
WIDE, TALL = (300, 150), (150, 300)


def opacities(layer: Image.Image) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    return np.asarray(layer.convert("RGBA").getchannel("A"))


def test_the_ramp_is_viridis_and_grows_lighter_all_along() -> None:
    colours = np.frombuffer(RAMP, np.uint8).reshape(256, 3)
    assert colours[[0, 128, 255]].tolist() == [[68, 1, 84], [32, 144, 140], [253, 231, 36]]
    lightness = colours @ np.array([0.299, 0.587, 0.114])
    assert (np.diff(lightness) > -0.5).all()
    assert lightness[-1] - lightness[0] > 180


@pytest.mark.parametrize(("size", "expected"), [(WIDE, (384, 192)), (TALL, (192, 384)), ((9000, 1), (384, 1))])
def test_a_layer_has_the_pictures_proportions(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert heat_layer(CORNER, size).size == expected


@pytest.mark.parametrize("size", [WIDE, TALL])
def test_the_heat_lies_where_the_map_is_hot_and_fades_to_nothing(size: tuple[int, int]) -> None:
    layer = opacities(heat_layer(CORNER, size))
    height, width = layer.shape
    assert layer[0, -1] == round(OPAQUE * 255)
    assert layer[height // 3, width - width // 6] == pytest.approx(OPAQUE * 255 / 2, abs=3)  # between two cells
    assert not layer[:, : width // 2].any()
    assert not layer[height // 2 :].any()


def test_a_map_without_heat_leaves_the_picture_as_it_is() -> None:
    picture = Image.effect_noise((60, 40), 50).convert("RGB")
    assert heated(picture, [[0.0, 0.0], [0.0, 0.0]]).tobytes() == picture.tobytes()


def test_hot_pixels_take_the_ramps_colour_and_the_picture_is_not_changed() -> None:
    picture = Image.new("RGB", WIDE, "red")
    shown = heated(picture, CORNER)
    assert shown.size == WIDE
    mixed = [round(OPAQUE * hot + (1 - OPAQUE) * own) for hot, own in zip(RAMP[-3:], (255, 0, 0), strict=True)]
    assert np.asarray(shown)[0, -1] == pytest.approx(mixed, abs=2)
    assert np.asarray(shown)[-1, 0].tolist() == [255, 0, 0]
    assert picture.getcolors() == [(WIDE[0] * WIDE[1], (255, 0, 0))]


def test_a_smooth_layer_is_a_small_file_that_opens_as_the_same() -> None:
    down, right = np.mgrid[:24, :24]
    layer = heat_layer(np.exp(-((down - 8) ** 2 + (right - 6) ** 2) / 40).tolist(), (512, 512))
    file = png_file(layer)
    assert len(file) < 32_000
    with Image.open(io.BytesIO(file)) as opened:
        assert opened.convert("RGBA").tobytes() == layer.convert("RGBA").tobytes()


@pytest.mark.parametrize(
    ("row", "column", "words"),
    [
        (0, 0, "upper left"),
        (7, 12, "upper"),
        (8, 8, "middle"),
        (12, 7, "left"),
        (15, 16, "right"),
        (23, 23, "lower right"),
    ],
)
def test_where_a_map_is_strongest_is_said_in_words(row: int, column: int, words: str) -> None:
    grid = np.full((24, 24), 0.5)
    grid[row, column] = 1
    assert strongest(grid.tolist()) == words


def test_a_coarse_map_is_said_by_the_middle_of_its_cells() -> None:
    assert strongest([[0.0, 1.0], [0.0, 0.0]]) == "upper right"
    assert strongest([[1.0]]) == "middle"


def test_a_map_without_heat_is_strongest_nowhere() -> None:
    assert strongest([[0.0, 0.0], [0.0, 0.0]]) == "nowhere"
