"""Two steps under way at once, as on CUDA, come to the same as one after the other."""

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from blip_serve.models.device import Device
from tests.cuda.items import MODELS, checkpoint, items
from tests.support.checkpoints import Kind
from tests.support.loading import load
from tests.support.running import run_by_turns, run_prepared

ROUNDING = 1e-4
"""Of steps whose rows are not the same."""


def close(found: Any, wanted: Any) -> bool:
    """Whether results are the same but for rounding."""
    if isinstance(found, float):
        return bool(found == pytest.approx(wanted, abs=ROUNDING))
    if is_dataclass(found):
        return all(close(getattr(found, field.name), getattr(wanted, field.name)) for field in fields(found))
    if isinstance(found, list | tuple):
        return len(found) == len(wanted) and all(map(close, found, wanted))
    return bool(found == wanted)


@pytest.mark.parametrize("kind", MODELS)
def test_a_launch_before_the_collect_of_the_last_changes_nothing(kind: Kind, device: str, tmp_path: Path) -> None:
    """Some images are of both groups: the second waits for the first to encode them."""
    folder = checkpoint(tmp_path, kind)
    groups = [items(kind), items(kind, first=2)]
    alone = load(MODELS[kind], folder, device=device)
    wanted = [run_prepared(alone, [alone.prepare(item) for item in group]) for group in groups]
    both = load(MODELS[kind], folder, device=device)
    found = run_by_turns(both, *([both.prepare(item) for item in group] for group in groups))
    assert close(found, wanted)


def test_cuda_runs_two_launches_ahead() -> None:
    assert Device(torch.device("cuda"), torch.float16).depth == 2
