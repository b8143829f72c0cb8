"""Services that several tests share."""

from collections.abc import Iterator

import pytest

from tests.support.server import Service, serving, settings


@pytest.fixture(scope="session")
def demo() -> Iterator[Service]:
    """The embedded checkpoint, served as by default."""
    with serving(settings()) as service:
        yield service
