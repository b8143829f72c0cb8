"""Services that several tests share."""

from collections.abc import Iterator

import openai
import pytest

from tests.support.generating import Recorder
from tests.support.server import Service, always, fake_settings, sdk, serving, settings


@pytest.fixture(scope="session")
def demo() -> Iterator[Service]:
    """The embedded checkpoint, served as by default."""
    with serving(settings()) as service:
        yield service


@pytest.fixture(scope="session")
def recorder() -> Recorder:
    """A captioning fake that keeps what it is asked: the model of `captions`."""
    return Recorder("caption")


@pytest.fixture(scope="session")
def captions(recorder: Recorder) -> Iterator[Service]:
    """A service of `recorder`."""
    with serving(fake_settings(), always(recorder)) as service:
        yield service


@pytest.fixture(scope="session")
def client(captions: Service) -> Iterator[openai.OpenAI]:
    """The OpenAI client of `captions`."""
    with sdk(captions) as running:
        yield running
