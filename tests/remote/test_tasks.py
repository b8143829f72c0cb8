"""Requests on a real server, and what they carry."""

import asyncio
import gc
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, TypeVar

import httpx
import pytest

from blip_serve.domain import Caption, GenerationOptions, ServiceTier, Task
from blip_serve.errors import InvalidInput, RateLimited, Unauthenticated
from blip_serve.images.reference import Base64Image, BytesImage, ImageSource, UnreadableImage, UrlImage
from blip_serve.models.fake import FakeModel
from blip_serve.remote.tasks import RemoteTasks
from blip_serve.tasks.decide import DecideRequest
from blip_serve.tasks.embed import EmbedRequest
from blip_serve.tasks.generate import AnswerRequest, CaptionRequest, GenerateRequest, Given
from blip_serve.tasks.match import MatchRequest
from blip_serve.tasks.questions import Option, Question, ScoreQuestion, choice, predicate, scale
from blip_serve.tasks.request import Request
from tests.jobs.operators.support import PICTURE
from tests.remote.stub import answer, telling
from tests.support.pictures import data_uri, encoded, picture
from tests.support.server import Service, always, fake_settings, serving, with_key
from tests.support.tasks import with_service

ResultT = TypeVar("ResultT")
ALL: tuple[Task, ...] = ("match", "embed", "caption", "answer")
OTHER = BytesImage(encoded(picture(2)), "other.png")
STAR = Caption("a star", "alt")
KEY = "sk-tester"


@pytest.fixture(scope="module")
def fake() -> Iterator[Service]:
    with serving(fake_settings(), always(FakeModel(*ALL))) as service:
        yield service


def remotely(url: str, request: Request[ResultT], key: str | None = None) -> ResultT:
    async def run() -> ResultT:
        async with RemoteTasks(url, key) as remote:
            return await remote.run(request)

    return asyncio.run(run())


def comparable(result: Any) -> Any:
    """A result without its timings, and with the tokens of all texts together."""
    found = {name: getattr(result, name) for name in result.__dataclass_fields__ if name != "timings"}
    if "texts" in found:
        found["texts"] = [(text.text, text.finish_reason, text.logprobs) for text in found["texts"]]
    if "pairs" in found:
        found["pairs"] = [
            (p.image_index, p.caption_index, p.score, p.error and (type(p.error), p.error.param))
            for p in found["pairs"]
        ]
    return found


QUESTIONS: tuple[Question, ...] = (
    predicate("a star"),
    choice("a {} star", ["red", "blue"]),
    scale("a {} star", ["small", "large"]),
    ScoreQuestion("q", Caption("size", "q"), (Option("s", "q[0]", Caption("small", "q[0]")), Option("l", "q[1]"))),
)
REQUESTS: dict[str, Request[Any]] = {
    "every pair": MatchRequest((PICTURE, OTHER), (STAR, Caption("a dog", "b"))),
    "first with first": MatchRequest((PICTURE, OTHER), (STAR, Caption("a dog", "b")), "zip", frozenset({"cosine"})),
    "pairs that fail": MatchRequest((PICTURE, BytesImage(b"", "bad")), (STAR, Caption(" ", "blank")), on_error="item"),
    "vectors": EmbedRequest((PICTURE, STAR, OTHER)),
    "a text": GenerateRequest(PICTURE, Caption(" ", "text")),
    "log-probabilities": CaptionRequest(PICTURE, STAR, GenerationOptions(top_logprobs=2, stop=("zzz",)), 2),
    "a given text": AnswerRequest(PICTURE, STAR, given=(Given(Caption("red", "a"), "red"), Given(STAR, "a star"))),
    "decisions": DecideRequest(PICTURE, QUESTIONS),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_result_is_that_of_the_tasks(fake: Service, name: str) -> None:
    request = REQUESTS[name]
    there = with_service(FakeModel(*ALL), lambda tasks: tasks.run(request))
    here = remotely(fake.url, request)
    assert comparable(here) == comparable(there) | {"service_tier": "flex"}


@pytest.mark.parametrize(
    ("source", "sent"),
    [
        (UrlImage("https://example.org/a.jpg", "image"), "https://example.org/a.jpg"),
        (Base64Image("aGk=", "image"), "data:image/any;base64,aGk="),
        (BytesImage(b"hi", "image"), "data:image/any;base64,aGk="),
    ],
)
def test_an_image_is_sent_as_a_url_or_a_data_uri(source: ImageSource, sent: str) -> None:
    with telling(answer(500, "")) as stub, pytest.raises(Exception, match="500"):
        remotely(stub.url, MatchRequest((source,), (STAR,)))
    [body] = stub.bodies
    assert body["images"] == [sent]
    assert ("x-image-digest: 8f434346" in stub.requests[0]) == isinstance(source, BytesImage)


def test_an_image_that_could_not_be_read_is_its_error() -> None:
    broken = UnreadableImage(InvalidInput("broken", param="image"), "image")
    with pytest.raises(InvalidInput, match="broken"):
        remotely("http://127.0.0.1:9", EmbedRequest((broken,)))


@pytest.mark.parametrize(("asked", "sent"), [("auto", "flex"), ("default", "default"), ("flex", "flex")])
def test_what_leaves_it_to_the_service_is_background_work(asked: ServiceTier, sent: str) -> None:
    with telling(answer(500, "")) as stub, pytest.raises(Exception, match="500"):
        remotely(stub.url, EmbedRequest((STAR,), service_tier=asked))
    assert stub.bodies[0]["service_tier"] == sent


def test_a_text_shown_as_another_is_refused(fake: Service) -> None:
    with pytest.raises(InvalidInput) as found:
        remotely(fake.url, GenerateRequest(PICTURE, STAR, given=(Given(STAR, '"a star"'),)))
    assert found.value.param == "alt"


def test_the_key_is_sent() -> None:
    with serving(fake_settings(auth=with_key(KEY)), always(FakeModel(*ALL)), ready=True) as service:
        assert remotely(service.url, EmbedRequest((STAR,)), KEY).model == "test/fake"
        for wrong in (None, "sk-wrong"):
            with pytest.raises(Unauthenticated):
                remotely(service.url, EmbedRequest((STAR,)), wrong)


def test_a_key_over_its_rate_says_when_to_come_again() -> None:
    limited = fake_settings(auth=with_key(KEY, rate="1/hour"))
    with serving(limited, always(FakeModel(*ALL))) as service:
        remotely(service.url, EmbedRequest((STAR,)), KEY)
        with pytest.raises(RateLimited) as found:
            remotely(service.url, EmbedRequest((STAR,)), KEY)
    assert 0 < (found.value.retry_after or 0) <= 3600


MODELS: dict[str, Any] = {
    "object": "list",
    "data": [
        {"id": "a/matcher", "tasks": ["match", "embed"], "parent": None},
        {"id": "a/unknown", "tasks": None, "parent": None},
        {"id": "an/answerer", "tasks": ["answer"], "parent": None},
        {"id": "a/captioner:plain", "tasks": ["caption"], "parent": "a/captioner"},
        {"id": "a/captioner", "tasks": ["caption"], "parent": None},
    ],
}


def test_without_a_model_a_caption_and_an_answer_each_go_to_one_that_can_and_the_list_is_asked_for_once() -> None:
    async def run(url: str) -> None:
        async with RemoteTasks(url) as remote:
            for request in [CaptionRequest(PICTURE, STAR)] * 2 + [AnswerRequest(PICTURE, STAR)]:
                with pytest.raises(Exception, match="500"):
                    await remote.run(request)

    fails = answer(500, "")
    with telling(answer(200, MODELS), fails, fails, answer(200, MODELS), fails) as stub:
        asyncio.run(run(stub.url))
    assert [request.split(" HTTP")[0] for request in stub.requests] == [
        "GET /v1/models",
        "POST /v1/chat/completions",
        "POST /v1/chat/completions",
        "GET /v1/models",
        "POST /v1/chat/completions",
    ]


@pytest.mark.parametrize(
    ("request_", "listed", "model"),
    [
        (CaptionRequest(PICTURE, STAR), MODELS["data"], "a/captioner"),
        (AnswerRequest(PICTURE, STAR), MODELS["data"], "an/answerer"),
        (AnswerRequest(PICTURE, STAR), MODELS["data"][:2], "a/unknown"),
    ],
)
def test_a_model_that_is_known_to_do_it_goes_first(request_: GenerateRequest, listed: object, model: str) -> None:
    with telling(answer(200, {"data": listed}), answer(500, "")) as stub, pytest.raises(Exception, match="500"):
        remotely(stub.url, request_)
    assert f'"model": "{model}"' in stub.requests[1]


def test_where_no_model_can_the_run_is_told() -> None:
    with telling(answer(200, {"data": MODELS["data"][:1]})) as stub, pytest.raises(InvalidInput) as found:
        remotely(stub.url, CaptionRequest(PICTURE, STAR))
    assert (found.value.code, found.value.param) == ("task_not_supported", "model")


def test_many_requests_share_the_connections(fake: Service) -> None:
    async def run() -> int:
        async with RemoteTasks(fake.url, connections=3) as remote:
            found = await asyncio.gather(*(remote.run(EmbedRequest((Caption(f"{i}", "t"),))) for i in range(50)))
            return len({result.vectors for result in found})

    assert asyncio.run(run()) == 50


def test_a_data_uri_of_a_client_s_own_is_read_alike(fake: Service) -> None:
    head, _, text = data_uri(picture(1)).partition(",")
    assert head
    ours, theirs = (remotely(fake.url, EmbedRequest((each,))).vectors for each in (PICTURE, Base64Image(text, "image")))
    assert ours == theirs


@pytest.mark.parametrize("model", [None, "nobody/nothing"])
def test_a_request_leaves_no_picture_to_the_garbage_collector(fake: Service, model: str | None) -> None:
    async def run() -> list[object]:
        async with RemoteTasks(fake.url) as remote:
            for _ in range(3):
                with suppress(InvalidInput):
                    await remote.run(EmbedRequest((PICTURE,), model=model))
        return [each for each in gc.get_objects() if type(each) is httpx.Request]

    gc.collect()
    gc.disable()
    try:
        assert asyncio.run(run()) == []
    finally:
        gc.enable()
