"""The page and the package say the same of a map."""

import pytest

from blip_serve.api.playground import FILES
from blip_serve.heat import strongest
from tests.browser.conftest import Visit

pytestmark = pytest.mark.browser

EACH_CELL = """
async ([module, maps]) => {
  const { strongest } = await import(module);
  return maps.map(strongest);
}
"""


def test_a_maps_strongest_place_has_the_same_name_on_the_page(visit: Visit) -> None:
    page = visit()
    for rows, columns in ((8, 8), (24, 24), (5, 7)):
        grids = [[[0.0] * columns for _ in range(rows)] for _ in range(rows * columns + 1)]
        for cell in range(rows * columns):
            grids[cell][cell // columns][cell % columns] = 1.0
        said = page.evaluate(EACH_CELL, [f"{FILES.below}/js/heat.js", grids])
        assert said == [strongest(grid) for grid in grids]
