"""A loader of models that have no files."""

import sys
from collections.abc import Callable

from blip_serve.catalogue import ModelCard
from blip_serve.loading import Found, Loaded
from blip_serve.memory import Footprint
from blip_serve.settings import ModelSettings


class Making:
    """A `Loader` of models that have no files, such as fakes: `make` makes them. Each holds `size` bytes.

    Their `budget` is more than any of them needs, unless it is given.
    """

    def __init__(
        self, make: Callable[[ModelSettings, ModelCard], Loaded], size: int = 0, budget: int = sys.maxsize
    ) -> None:
        self._make = make
        self._footprint = Footprint(size)
        self._budget = budget

    def budget(self) -> int:
        """See `Loader`."""
        return self._budget

    def find(self, model: ModelSettings, card: ModelCard) -> Found:
        """See `Loader`."""
        return Found(self._footprint, lambda: self._make(model, card))

    def give_back(self) -> None:
        """Nothing: they hold next to nothing."""
