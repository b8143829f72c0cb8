"""Threads for the full-size tests."""

import os
from collections.abc import Iterator

import pytest
import torch

from blip_serve.models import device


@pytest.fixture(scope="module", autouse=True)
def all_cores() -> Iterator[None]:
    """Large networks gain by threads, which the small ones of the other tests do not."""
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "THREADS", os.cpu_count() or 1)
        torch.set_num_threads(device.THREADS)
        yield
    torch.set_num_threads(before)
