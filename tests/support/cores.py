"""All cores for large networks: the other tests' are small, and gain nothing by threads."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from blip_serve.models import device


@contextmanager
def all_cores() -> Iterator[None]:
    """Torch, and whatever is loaded here, computes with a thread a core."""
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "THREADS", os.cpu_count() or 1)
        torch.set_num_threads(device.THREADS)
        yield
    torch.set_num_threads(before)
