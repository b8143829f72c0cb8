"""Threads for the full-size tests."""

from collections.abc import Iterator

import pytest

from tests.support import cores


@pytest.fixture(scope="module", autouse=True)
def all_cores() -> Iterator[None]:
    """Large networks gain by threads."""
    with cores.all_cores():
        yield
