"""The generating task without HTTP: pickling, streams, and that nothing stays in memory."""

import asyncio
import pickle
from contextlib import aclosing
from dataclasses import replace

import pytest

from blip_serve.domain import Caption, GenerationOptions, Piece
from blip_serve.errors import InvalidInput
from blip_serve.images.reference import Base64Image
from blip_serve.models.fake import FakeModel
from blip_serve.tasks.generate import Began, Event, GenerateRequest, GenerateResult
from blip_serve.tasks.service import Tasks
from tests.support.generating import Stepwise
from tests.support.tasks import check_a_failure_leaves_nothing, with_service
from tests.support.waiting import wait_until

REQUEST = GenerateRequest(
    Base64Image("aGVsbG8=", "image"), Caption("a photo of", "text"), GenerationOptions(seed=1, top_logprobs=1), n=2
)


async def streamed(tasks: Tasks, request: GenerateRequest = REQUEST) -> list[Event]:
    async with aclosing(tasks.stream(request)) as events:
        return [event async for event in events]


def test_requests_and_events_can_cross_a_process_border() -> None:
    assert pickle.loads(pickle.dumps(REQUEST)) == REQUEST
    events = with_service(FakeModel("caption"), streamed)
    assert pickle.loads(pickle.dumps(events)) == events


def test_a_stream_begins_brings_pieces_and_ends_in_the_result() -> None:
    async def both(tasks: Tasks) -> tuple[GenerateResult, list[Event]]:
        return await tasks.run(REQUEST), await streamed(tasks)

    whole, (began, *pieces, result) = with_service(FakeModel("caption"), both)
    assert isinstance(began, Began)
    assert isinstance(result, GenerateResult)
    assert replace(result, timings=whole.timings) == whole
    assert began.usage == replace(whole.usage, generated_tokens=0)
    for choice, text in enumerate(whole.texts):
        mine = [piece for piece in pieces if isinstance(piece, Piece) and piece.choice == choice]
        assert "".join(piece.text for piece in mine) == text.text
        assert tuple(token for piece in mine for token in piece.logprobs or ()) == text.logprobs
        assert [piece.finish_reason for piece in mine] == [None] * (len(mine) - 1) + [text.finish_reason]


def test_closing_a_stream_frees_what_it_holds() -> None:
    model = Stepwise("caption")

    async def leave(tasks: Tasks) -> None:
        async with aclosing(tasks.stream(REQUEST)) as events:
            assert isinstance(await anext(events), Began)
            assert isinstance(await anext(events), Piece)
            assert model.free_slots == 6
        model.allow(1)
        await asyncio.to_thread(wait_until, lambda: model.free_slots == 8)

    model.allow(1)
    with_service(model, leave)
    assert model.decoding_steps <= 2


def test_what_is_wrong_is_raised_before_the_first_event() -> None:
    async def ask(tasks: Tasks) -> None:
        with pytest.raises(InvalidInput) as refused:
            await anext(tasks.stream(replace(REQUEST, n=100)))
        assert refused.value.param == "n"

    with_service(FakeModel("caption"), ask)


def test_a_failed_request_leaves_nothing_in_memory() -> None:
    check_a_failure_leaves_nothing(lambda tasks: tasks.run(REQUEST))
    check_a_failure_leaves_nothing(streamed)


def test_a_blank_text_is_bounded_like_any_other() -> None:
    blank = replace(REQUEST, text=Caption(" " * 8193, "text"))
    with pytest.raises(InvalidInput) as found:
        with_service(FakeModel("caption"), lambda tasks: tasks.run(blank))
    assert (found.value.param, found.value.code) == ("text", "input_too_long")
