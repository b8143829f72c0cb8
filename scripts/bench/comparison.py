"""Sides given the same inputs in turn: their answers must agree, and each becomes a row."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from bench.bench import Bench
from bench.measure import take_turns

T = TypeVar("T")
R = TypeVar("R")

FLOAT32 = 1e-3
SIXTEEN_BITS = 0.03
INT8 = 0.1
"""How far scores of 0..1 may be from transformers' in float32, by number type. Of int8 it says only that nothing is
broken: on random weights tokens are 4% off."""


@dataclass(frozen=True, slots=True)
class Side(Generic[T, R]):
    """A side of a row: its letter, its checkpoint and number type, and how it answers an input.

    `share`: the part of an input that it answers, where that is not the whole; `note` says so.
    """

    name: str
    model: str
    answer: Callable[[T], R]
    share: float = 1.0
    note: str = ""


def compare(
    bench: Bench,
    group: str,
    name: str,
    sides: Sequence[Side[T, R]],
    inputs: Sequence[T],
    agree: Callable[[str, T, R, R], bool],
    warm: int = 1,
    many: tuple[int, str] | None = None,
) -> None:
    """Times `sides` on `inputs`, the first `warm` of them untimed: rows in milliseconds an input.

    With `many`, (things an input holds, what they are), rows are in things a second.
    `agree(model, input, answer, wanted)` is asked of every answer, `wanted` being the first side's.
    Raises `RuntimeError` where it says no.
    """
    keys = {f"{side.name} {side.model}": side for side in sides}
    first = next(iter(keys))

    def check(given: T, answers: Mapping[str, R]) -> None:
        for key, side in keys.items():
            if not agree(side.model, given, answers[key], answers[first]):
                raise RuntimeError(f"{group}, {name}: {key} answers {answers[key]}, and {first} {answers[first]}.")

    seconds = take_turns({key: side.answer for key, side in keys.items()}, inputs, check, warm)
    for key, side in keys.items():
        taken = [each / side.share for each in seconds[key]]
        values = [1000 * each for each in taken] if many is None else [many[0] / each for each in taken]
        bench.add(group, name, side.name, side.model, "ms" if many is None else f"{many[1]}/s", values, note=side.note)


def same_numbers(model: str, given: object, found: Sequence[float], wanted: Sequence[float]) -> bool:
    """Whether those that both have are alike, as far as the number type of `model` allows."""
    near = {"float32": FLOAT32, "int8": INT8}.get(model.rpartition(" ")[2], SIXTEEN_BITS)
    return all(math.isfinite(each) for each in found) and all(
        abs(ours - theirs) <= near for ours, theirs in zip(found, wanted, strict=False)
    )
