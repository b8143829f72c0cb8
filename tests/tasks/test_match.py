"""The match task without HTTP: what crosses its border, and what is left behind when it fails."""

import asyncio
import pickle

import pytest

from blip_serve.domain import Caption
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import Base64Image, BytesImage
from blip_serve.models.fake import FakeModel
from blip_serve.tasks.match import MatchRequest, MatchResult
from blip_serve.tasks.session import all_of
from tests.support.pictures import encoded, picture
from tests.support.tasks import check_a_failure_leaves_nothing, with_service

IMAGES = (BytesImage(encoded(picture(1)), "images[0]"), Base64Image("aGVsbG8=", "images[1]"))
CAPTIONS = (Caption("a dog", "captions[0]"), Caption("a cat", "captions[1]"))


def test_requests_and_results_can_cross_a_process_border() -> None:
    request = MatchRequest(IMAGES, CAPTIONS)
    assert pickle.loads(pickle.dumps(request)) == request
    result = with_service(FakeModel(), lambda tasks: tasks.match.run(request))
    assert isinstance(result, MatchResult)
    assert pickle.loads(pickle.dumps(result)) == result
    assert [(pair.image_index, pair.caption_index) for pair in result.pairs] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_failed_request_leaves_nothing_in_memory() -> None:
    check_a_failure_leaves_nothing(lambda tasks: tasks.match.run(MatchRequest(IMAGES, CAPTIONS)))


def test_the_first_failure_cancels_the_rest_and_is_raised() -> None:
    cancelled = []

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def fail() -> None:
        raise InvalidInput("no", param="images[1]")

    async def run() -> None:
        with pytest.raises(InvalidInput):
            await all_of([wait(), fail(), wait()])

    asyncio.run(run())
    assert cancelled == [True, True]
