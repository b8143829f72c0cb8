"""The match task without HTTP: its requests and results can be pickled, and a failure leaves nothing in memory."""

import asyncio
import gc
import pickle
import weakref
from collections import deque

import pytest

from blip_serve.domain import Caption, Done, Item, MatchScores, Prepared
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import Base64Image, BytesImage
from blip_serve.models.fake import FakeModel
from blip_serve.tasks.match import MatchRequest, MatchResult, OnError
from blip_serve.tasks.session import all_of
from tests.support.pictures import encoded, picture
from tests.support.tasks import WatchedWork, check_a_failure_leaves_nothing, with_service
from tests.support.waiting import wait_until

IMAGES = (BytesImage(encoded(picture(1)), "images[0]"), Base64Image("aGVsbG8=", "images[1]"))
CAPTIONS = (Caption("a dog", "captions[0]"), Caption("a cat", "captions[1]"))


def test_requests_and_results_can_cross_a_process_border() -> None:
    request = MatchRequest(IMAGES, CAPTIONS)
    assert pickle.loads(pickle.dumps(request)) == request
    result = with_service(FakeModel(), lambda tasks: tasks.run(request))
    assert isinstance(result, MatchResult)
    assert pickle.loads(pickle.dumps(result)) == result
    assert [(pair.image_index, pair.caption_index) for pair in result.pairs] == [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize("on_error", ["request", "item"])
def test_an_image_is_let_go_once_it_is_scored(on_error: OnError) -> None:
    """The embeddings of a thousand images would not fit into memory. The limit here is one image at a time."""
    alive: list[weakref.ref[object]] = []

    class Watched(FakeModel):
        def prepare(self, item: Item) -> Prepared:
            wait_until(lambda: all(work() is None for work in alive))
            work = WatchedWork(phase="score", cost=1, plan=deque([Done(((0, MatchScores()),))]))
            alive.append(weakref.ref(work))
            return Prepared((work,), text_tokens=(1,))

    images = tuple(BytesImage(b"image %d" % i, f"images[{i}]") for i in range(4))
    captions = tuple(Caption("a dog", f"captions[{i}]") for i in range(4))
    request = MatchRequest(images, captions, "zip", on_error=on_error)
    gc.disable()
    try:
        result = with_service(Watched(), lambda tasks: tasks.run(request), limits={"max_images": 1})
    finally:
        gc.enable()
    assert [pair.error for pair in result.pairs] == [None] * 4
    assert result.usage.text_tokens == 4


def test_a_failed_request_leaves_nothing_in_memory() -> None:
    check_a_failure_leaves_nothing(lambda tasks: tasks.run(MatchRequest(IMAGES, CAPTIONS)))


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
