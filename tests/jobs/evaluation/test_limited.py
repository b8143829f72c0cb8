"""Inputs that are too many for a request go in several."""

import asyncio
from collections.abc import Sequence

import pytest

from blip_serve.errors import InvalidInput
from blip_serve.jobs.evaluation.limited import limited


class Service:
    """Takes so many inputs at once. Doubles them."""

    def __init__(self, most: int, code: str = "too_many_captions") -> None:
        self.most, self.code = most, code
        self.taken: list[int] = []

    async def __call__(self, inputs: Sequence[int]) -> list[int]:
        if len(inputs) > self.most:
            raise InvalidInput("too many", code=self.code)
        self.taken.append(len(inputs))
        return [2 * each for each in inputs]


def test_halves_are_asked_for_until_they_fit() -> None:
    service = Service(30)
    assert asyncio.run(limited(service, range(100))) == [2 * each for each in range(100)]
    assert service.taken == [25, 25, 25, 25]


@pytest.mark.parametrize(("most", "code"), [(0, "too_many_images"), (10, "empty_input")])
def test_what_does_not_help_is_not_tried(most: int, code: str) -> None:
    service = Service(most, code)
    with pytest.raises(InvalidInput, match="too many"):
        asyncio.run(limited(service, range(100)))
    assert service.taken == []
