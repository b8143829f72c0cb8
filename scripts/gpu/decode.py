"""Decode steps of captions: tokens a second, and whether the host or the card is what a step waits for.

Every second step is launched while the card is kept busy, so that it then runs without a gap: that is the device's own
time. Where launching takes longer, CUDA graphs would win, at most what the note says: a step that costs no launching.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from bench.machine import synchronise
from blip_serve.models.running import Group
from blip_serve.models.text_works import DECODE
from gpu.place import Place
from gpu.rows import LARGE_STEP, Row, median_ms
from tests.support.running import writing

SEQUENCES = {True: (1, 16, 256), False: (1, 16)}
TOKENS = 24
BUSY_CYCLES = 60_000_000
"""Of the card's clock, some 30 ms: longer than a launch takes."""


@dataclass(slots=True)
class Steps:
    """Seconds of decode steps: whole, of their launches, and of the device alone."""

    whole: list[float] = field(default_factory=list)
    launching: list[float] = field(default_factory=list)
    device: list[float] = field(default_factory=list)


def rows(place: Place) -> Iterator[Row]:
    """A row for each number of captions, each of an image of its own."""
    model = place.load("captioning", **LARGE_STEP)
    for count in SEQUENCES[place.on_card]:
        _write(place, model, count)
        steps = _write(place, model, count)
        yield row_of(place.name("captioning"), count, steps)


def row_of(model: str, count: int, steps: Steps) -> Row:
    """The medians; with the device's time also what graphs would win at most."""
    whole, launching = median_ms(steps.whole), median_ms(steps.launching)
    device = median_ms(steps.device) if steps.device else None
    note = (
        "" if device is None else f"by CUDA graphs at most {whole / without_launching(whole, launching, device):.2f}x"
    )
    return Row("a decode step, tokens", model, count, whole, launching, device, note)


def without_launching(whole: float, launching: float, device: float) -> float:
    """What a step would take whose launch cost nothing: the device begins with the launch, and the rest follows."""
    return whole - max(launching, device) + device


def _write(place: Place, model: Any, count: int) -> Steps:
    prepared = [model.prepare(writing(data, min_tokens=TOKENS, max_tokens=TOKENS)) for data in place.take(count)]
    group = Group(model, prepared)
    steps, alone = Steps(), False
    while group.waiting:
        works = group.next_step()
        decodes = works[0].phase == DECODE
        synchronise(place.device)
        busy = Busy() if alone and decodes and place.on_card else None
        started = time.perf_counter()
        launched = model.launch(works)
        launching = time.perf_counter() - started
        seconds = busy.device_seconds(launching) if busy else None
        outcomes = model.collect(launched)
        if seconds is not None:
            steps.device.append(seconds)
        elif decodes and not busy:
            steps.whole.append(time.perf_counter() - started)
            steps.launching.append(launching)
        group.take(works, outcomes)
        alone = not alone
    return steps


class Busy:
    """Keeps the card busy from now on, for longer than a launch takes, and times what is launched meanwhile."""

    def __init__(self) -> None:
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(3)]  # type: ignore[no-untyped-call]
        self._events[0].record()
        torch.cuda._sleep(BUSY_CYCLES)  # type: ignore[no-untyped-call]
        self._events[1].record()

    def device_seconds(self, launching: float) -> float | None:
        """Seconds of what was launched; `None` if the card was idle before all was, so that they have gaps."""
        before, begun, ended = self._events
        ended.record()
        ended.synchronize()
        if before.elapsed_time(begun) < 1000 * launching:
            return None
        seconds: float = begun.elapsed_time(ended) / 1000
        return seconds
