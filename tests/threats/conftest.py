"""The service that is threatened."""

from collections.abc import Iterator

import pytest

from blip_serve.settings import DEMO, DEMO_ANSWERS, DEMO_CAPTIONS
from tests.support.server import Service, serving, settings

COLLECTED = pytest.StashKey[list[str]]()
"""The tests found, whichever of them are asked for."""


def pytest_itemcollected(item: pytest.Item) -> None:
    item.config.stash.setdefault(COLLECTED, []).append(item.nodeid)


SMALL = {"max_images": 4, "max_captions": 8, "max_pairs": 16, "max_zip_pairs": 4}


@pytest.fixture(scope="session")
def demo() -> Iterator[Service]:
    """The embedded checkpoints behind small limits on what a request may hold, as by default otherwise."""
    with serving(settings(models=(DEMO, DEMO_CAPTIONS, DEMO_ANSWERS), limits=SMALL)) as service:
        yield service
