"""A step for which the device lacks memory is tried again by halves, and all of its works are answered."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from blip_serve.models.matcher import Matcher
from tests.cuda.conftest import Place
from tests.support.engine import running_engine
from tests.support.loading import load_matcher
from tests.support.pictures import encoded, picture
from tests.support.running import item, run

WAIT_S = 60
IMAGES = 64
ROOM = 256 * 2**20
"""Bytes beside the weights: less than half of what 64 images at 384 px take in float16, and more than they leave."""

Failures = Callable[[], int]


@contextmanager
def little_memory(matcher: Matcher, device: str) -> Iterator[Failures]:
    """A device with memory for a few images; how often it lacked any so far."""
    with _little_of_a_card() if device == "cuda" else _little_of_a_host(matcher) as failures:
        yield failures


@contextmanager
def _little_of_a_card() -> Iterator[Failures]:
    torch.cuda.empty_cache()
    before = torch.cuda.memory_stats().get("num_ooms", 0)
    limit = torch.cuda.memory_reserved() + ROOM
    torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.get_device_properties(0).total_memory)
    try:
        yield lambda: torch.cuda.memory_stats().get("num_ooms", 0) - before
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@contextmanager
def _little_of_a_host(matcher: Matcher) -> Iterator[Failures]:
    tower, failures = matcher.network.vision_model.forward, []

    def small(pixels: torch.Tensor) -> Any:
        if len(pixels) > 2:
            failures.append(len(pixels))
            raise MemoryError
        return tower(pixels)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matcher.network.vision_model, "forward", small)
        yield lambda: len(failures)


def test_a_step_without_memory_is_split_and_all_are_answered(place: Place) -> None:
    folder = place.checkpoint("retrieval")
    if place.device == "cuda" and place.size == "demo":
        pytest.skip("64 small pictures fit into the least that is reserved")
    dtype = "float16" if place.device == "cuda" else "float32"
    count = IMAGES if place.device == "cuda" else 8
    matcher = load_matcher(folder, device=place.device, dtype=dtype, engine={"max_step_cost": 65536})
    images = [encoded(picture(seed)) for seed in range(count)]
    run(matcher, item(encoded(picture(count)), ["a dog"]))
    with (
        little_memory(matcher, place.device) as failures,
        running_engine(max_step_cost=65536) as engine,
        engine.reserved(0, WAIT_S) as reservation,
    ):
        works = [work for image in images for work in matcher.prepare(item(image, ["a dog"])).works]
        found: list[Any] = [future.result(WAIT_S) for future in engine.submit(reservation, matcher, works)]
        assert failures()
    exact = load_matcher(folder, device=place.device, dtype=dtype)
    wanted = [run(exact, item(image, ["a dog"]))[0][0].itm_score for image in images]
    assert [score.itm_score for ((_, score),) in found] == pytest.approx(wanted, abs=0.01)
