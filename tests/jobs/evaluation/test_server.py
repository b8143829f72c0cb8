"""An evaluation asks a server as it asks the models here, however little the server takes in one request."""

import asyncio
from pathlib import Path

import pytest

from blip_serve.jobs.evaluation.answering import Answering
from blip_serve.jobs.evaluation.answers import Answers
from blip_serve.jobs.evaluation.evaluation import Measured
from blip_serve.jobs.evaluation.gallery import Gallery
from blip_serve.jobs.evaluation.retrieval import Retrieval
from blip_serve.jobs.operators.operator import Ask
from blip_serve.jobs.operators.serving import PAPER
from blip_serve.jobs.pictures import open_pictures
from blip_serve.models.fake import FakeModel
from blip_serve.remote.tasks import RemoteTasks
from blip_serve.settings import ImageSettings, LimitSettings
from blip_serve.tasks.service import open_service
from blip_serve.telemetry import Telemetry
from tests.jobs.evaluation.scripted import drawn_gallery, not_shown
from tests.support.server import QUIET, always, fake_settings, serving

SMALL = LimitSettings(max_images=3, max_captions=5)


@pytest.fixture
def drawn(tmp_path: Path) -> Gallery:
    return drawn_gallery(tmp_path, [(f"text {number}", f"other {number}") for number in range(10)])


async def measured(gallery: Gallery, ask: Ask, state: Path) -> Measured:
    with Answers(state) as answers:
        async with open_pictures(ImageSettings()) as pictures:
            return await Retrieval(gallery, "drawn", 4).measure(Answering(ask, pictures, PAPER, answers, not_shown))


async def here(gallery: Gallery, state: Path) -> Measured:
    model = always(FakeModel("match", "embed"))
    async with open_service(fake_settings(), Telemetry(QUIET), model) as tasks:
        return await measured(gallery, tasks.run, state)


async def there(gallery: Gallery, state: Path, url: str) -> Measured:
    async with RemoteTasks(url) as remote:
        return await measured(gallery, remote.run, state)


def test_a_server_with_small_limits_gives_the_same(drawn: Gallery, tmp_path: Path) -> None:
    wanted = asyncio.run(here(drawn, tmp_path / "here"))
    with serving(fake_settings(limits=SMALL), always(FakeModel("match", "embed"))) as service:
        found = asyncio.run(there(drawn, tmp_path / "there", service.url))
    assert found == wanted
    assert found.counts["pairs scored"] > 5 * len(drawn.entries)
