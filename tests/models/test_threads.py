"""How many threads a model computes with."""

from pathlib import Path
from typing import Any

import pytest
import torch

from blip_serve.catalogue import EMBEDDED
from blip_serve.models import config, device
from tests.support.loading import load_matcher
from tests.support.pictures import encoded, picture
from tests.support.running import item, run

DEMO = EMBEDDED / "demo-retrieval"


def threads_of(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> int:
    """Those that a pass is computed with, where torch takes four by itself."""
    before = torch.get_num_threads()
    monkeypatch.setattr(device, "THREADS", 4)
    seen: list[int] = []
    try:
        matcher = load_matcher(folder, **settings)
        matcher.network.vision_model.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
        torch.set_num_threads(2)  # as another model left it
        run(matcher, item(encoded(picture(1)), ["a dog"]))
    finally:
        torch.set_num_threads(before)
    [threads] = seen
    return threads


def test_a_small_model_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    assert threads_of(DEMO, monkeypatch) == 1


def test_a_large_model_has_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "SMALL", 0)
    assert threads_of(DEMO, monkeypatch) == 4


def test_threads_that_are_set_are_for_every_model(monkeypatch: pytest.MonkeyPatch) -> None:
    assert threads_of(DEMO, monkeypatch, threads=3) == 3


@pytest.mark.parametrize(
    ("files", "threads"),
    [
        ({}, 4),
        ({"cpu.max": "max 100000"}, 4),
        ({"cpu.max": "200000 100000"}, 2),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "10000 100000"}, 1),
        ({"cpu.max": "1600000 100000"}, 4),
        ({"cpu.max": ""}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 4),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
    ],
)
def test_a_container_has_no_more_threads_than_its_cpu_limit(
    files: dict[str, str], threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files as the kernel writes them, of a container on a machine of four cores."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert device.cores(tmp_path) == threads
