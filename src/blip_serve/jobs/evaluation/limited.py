"""Asks for many inputs at once, or for as many as whoever answers allows."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from blip_serve.errors import InvalidInput, RequestTooLarge

T = TypeVar("T")
R = TypeVar("R")

TOO_MANY = frozenset({"too_many_images", "too_many_captions", "too_many_choices", RequestTooLarge.code})
"""Codes of a request that fewer inputs would fit into."""


async def limited(run: Callable[[Sequence[T]], Awaitable[list[R]]], inputs: Sequence[T]) -> list[R]:
    """`run(inputs)`; where that is too many for a request, halves of them, one after the other."""
    try:
        return await run(inputs)
    except InvalidInput as error:
        if error.code not in TOO_MANY or len(inputs) == 1:
            raise
    middle = len(inputs) // 2
    return [*await limited(run, inputs[:middle]), *await limited(run, inputs[middle:])]
