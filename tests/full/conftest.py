"""Threads for the full-size tests."""

import os
from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def all_cores() -> Iterator[None]:
    """Large networks gain by threads, which the small ones of the other tests do not."""
    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    yield
    torch.set_num_threads(before)
