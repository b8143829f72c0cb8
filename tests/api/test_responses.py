"""`POST /v1/responses`, through the OpenAI client."""

import asyncio
from collections.abc import Sequence
from typing import Any

import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent

from blip_serve.models.fake import FakeModel, FakeWork
from tests.support.asking import IMAGE, response_input
from tests.support.generating import Recorder, Stepwise
from tests.support.server import Service, always, fake_settings, sdk, serving
from tests.support.waiting import wait_until

PLAIN = response_input("a photo of")
LIFE = [
    "response.created",
    "response.output_item.added",
    "response.content_part.added",
    *["response.output_text.delta"] * 6,
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


def joined(events: Sequence[ResponseStreamEvent]) -> str:
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def comparable(response: Response) -> dict[str, Any]:
    """A response without what differs from one to the next."""
    shown = response.model_dump(mode="json", exclude={"id", "created_at", "completed_at"})
    for message in shown["output"]:
        del message["id"]
    return shown


def test_a_response_has_every_field_the_sdk_knows(client: openai.OpenAI) -> None:
    answer = client.responses.create(model="fake", input=PLAIN, instructions="Be brief.", max_output_tokens=10)
    assert answer.output_text.startswith("a photo of ")
    assert (answer.object, answer.status, answer.model) == ("response", "completed", "test/fake")
    assert answer.id.startswith("resp_")
    assert (answer.error, answer.incomplete_details) == (None, None)
    [message] = answer.output
    assert message.type == "message"
    assert message.id.startswith("msg_")
    assert (message.role, message.status) == ("assistant", "completed")
    [part] = message.content
    assert part.type == "output_text"
    assert (part.annotations, part.logprobs) == ([], [])
    assert (answer.instructions, answer.max_output_tokens) == ("Be brief.", 10)
    assert (answer.temperature, answer.top_p, answer.tools, answer.metadata) == (0, 1, [], {})
    assert answer.usage is not None
    assert answer.usage.model_dump(exclude_none=True) == {
        "input_tokens": 13, "output_tokens": 7, "total_tokens": 20,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0, "image_tokens": 10},
        "output_tokens_details": {"reasoning_tokens": 0},
    }  # fmt: skip
    required = {name for name, field in Response.model_fields.items() if field.is_required()}
    assert required <= answer.model_fields_set


def test_a_whole_answer_tells_where_its_time_went(client: openai.OpenAI) -> None:
    headers = client.responses.with_raw_response.create(model="fake", input=PLAIN).headers
    assert headers["server-timing"].startswith("fetch;dur=")


def test_a_text_cut_short_is_incomplete(client: openai.OpenAI) -> None:
    answer = client.responses.create(model="fake", input=PLAIN, max_output_tokens=2)
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert answer.output[0].type == "message"
    assert answer.output[0].status == "incomplete"
    with client.responses.create(model="fake", input=PLAIN, max_output_tokens=2, stream=True) as stream:
        *_, last = stream
    assert last.type == "response.incomplete"
    assert comparable(last.response) == comparable(answer)


def test_a_stream_tells_the_life_of_the_response_in_order(client: openai.OpenAI) -> None:
    whole = client.responses.create(model="fake", input=PLAIN)
    with client.responses.create(model="fake", input=PLAIN, stream=True) as stream:
        events = list(stream)
    assert [event.type for event in events] == LIFE
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert joined(events) == whole.output_text
    first, last = events[0], events[-1]
    assert first.type == "response.created"
    assert (first.response.status, first.response.output, first.response.model) == ("in_progress", [], "test/fake")
    assert last.type == "response.completed"
    assert comparable(last.response) == comparable(whole)
    assert last.response.id == first.response.id
    message = last.response.output[0]
    assert message.type == "message"
    for event in events:
        if event.type == "response.output_item.added" or event.type == "response.output_item.done":
            assert event.item.type == "message"
            assert (event.output_index, event.item.id) == (0, message.id)
        elif event.type == "response.output_text.done":
            assert (event.text, event.item_id) == (whole.output_text, message.id)


def test_logprobs_are_included_where_asked_for(client: openai.OpenAI, recorder: Recorder) -> None:
    answer = client.responses.create(
        model="fake", input=PLAIN, include=["message.output_text.logprobs"], top_logprobs=3
    )
    assert recorder.items[-1].options.top_logprobs == 3
    assert answer.top_logprobs == 3
    assert answer.output[0].type == "message"
    part = answer.output[0].content[0]
    assert part.type == "output_text"
    assert "a photo of" + "".join(token.token for token in part.logprobs or ()) == part.text
    with client.responses.create(
        model="fake", input=PLAIN, include=["message.output_text.logprobs"], stream=True
    ) as stream:
        deltas = [event for event in stream if event.type == "response.output_text.delta"]
    assert [token.token for event in deltas for token in event.logprobs] == [t.token for t in part.logprobs or ()]


def test_the_sdk_s_own_reader_of_streams_works(client: openai.OpenAI) -> None:
    with client.responses.stream(model="fake", input=PLAIN) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [event.type for event in events] == LIFE
    assert [event.snapshot for event in events if event.type == "response.output_text.delta"][-1] == final.output_text
    assert final.output_text == client.responses.create(model="fake", input=PLAIN).output_text


def test_the_async_client_asks_and_streams(captions: Service, client: openai.OpenAI) -> None:
    async def ask() -> tuple[str, str, str]:
        async with openai.AsyncOpenAI(base_url=f"{captions.url}/v1", api_key="unused", max_retries=0) as asynchronous:
            whole = await asynchronous.responses.create(model="fake", input=PLAIN)
            async with await asynchronous.responses.create(model="fake", input=PLAIN, stream=True) as stream:
                events = [event async for event in stream]
            async with asynchronous.responses.stream(model="fake", input=PLAIN) as reader:
                final = await reader.get_final_response()
            return whole.output_text, joined(events), final.output_text

    assert set(asyncio.run(ask())) == {client.responses.create(model="fake", input=PLAIN).output_text}


def test_options_reach_the_model(client: openai.OpenAI, recorder: Recorder) -> None:
    client.responses.create(
        model="fake", input=PLAIN, temperature=0.5, top_p=0.9, max_output_tokens=7,
        extra_body={"seed": 3, "stop": ".", "num_beams": 1, "min_tokens": 2, "repetition_penalty": 1.1,
                    "protocol": "paper"},
    )  # fmt: skip
    item = recorder.items[-1]
    options = item.options
    assert (options.temperature, options.top_p, options.max_tokens, options.seed) == (0.5, 0.9, 7, 3)
    assert (options.stop, options.num_beams, options.min_tokens) == ((".",), 1, 2)
    assert (options.repetition_penalty, item.protocol, item.n) == (1.1, "paper", 1)


def test_more_tokens_than_there_is_room_for_are_as_many_as_there_is(client: openai.OpenAI, recorder: Recorder) -> None:
    for most in (513, 10**9, 10**300):
        response = client.responses.create(model="fake", input=PLAIN, max_output_tokens=most)
        assert (recorder.items[-1].options.max_tokens, response.max_output_tokens) == (512, most)


@pytest.mark.parametrize(("asked", "named"), [(None, "hf"), ("paper", "paper")])
def test_every_answer_names_its_protocol(client: openai.OpenAI, asked: str | None, named: str) -> None:
    extra = {"protocol": asked}
    answer = client.responses.create(model="fake", input=PLAIN, extra_body=extra)
    events = list(client.responses.create(model="fake", input=PLAIN, stream=True, extra_body=extra))
    shown = [event.model_dump()["response"]["protocol"] for event in (events[0], events[-1])]
    assert [answer.model_dump()["protocol"], *shown] == [named] * 3


def test_messages_may_be_typed_and_system_messages_have_no_effect(client: openai.OpenAI, recorder: Recorder) -> None:
    items: Any = [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
        {"type": "message", "status": "completed"} | dict(response_input("what", "is it?")[0]),
    ]
    client.responses.create(model="fake", input=items)
    assert (recorder.items[-1].text.text, recorder.items[-1].text.param) == ("what is it?", "input[1].content")


def test_the_first_piece_leaves_before_the_next_is_computed() -> None:
    model = Stepwise("answer")
    with serving(fake_settings(), always(model)) as service, sdk(service) as client:
        model.allow(1)
        with client.responses.create(model="fake", input=PLAIN, stream=True) as stream:
            first = next(event for event in stream if event.type == "response.output_text.delta")
            assert first.delta.startswith("a photo of ")
            assert model.decoding_steps <= 2
            model.allow(100)
            *_, last = stream
        assert last.type == "response.completed"


def test_a_client_that_leaves_mid_stream_frees_its_place() -> None:
    model = Stepwise("caption")
    slots = model.free_slots
    with serving(fake_settings(), always(model)) as service, sdk(service) as client:
        model.allow(1)
        with client.responses.create(model="fake", input=PLAIN, stream=True) as stream:
            next(event for event in stream if event.type == "response.output_text.delta")
        wait_until(lambda: service.metric("queue_requests") == 0)
        model.allow(1)
        wait_until(lambda: model.free_slots == slots)
        assert model.decoding_steps <= 2
        wait_until(lambda: service.metric("cancelled_requests_total") == 1)


def test_a_fault_mid_stream_fails_the_response() -> None:
    def fail(works: Sequence[FakeWork]) -> None:
        if works[0].phase == "decode":
            raise RuntimeError("the secret cause")

    with serving(fake_settings(), always(FakeModel("caption", on_launch=fail))) as service, sdk(service) as client:
        with client.responses.create(model="fake", input=PLAIN, stream=True) as stream:
            *before, last = stream
        assert [event.type for event in before] == LIFE[:3]
        assert last.type == "response.failed"
        assert last.sequence_number == 3
        assert last.response.status == "failed"
        assert last.response.error is not None
        assert (last.response.error.code, last.response.usage) == ("server_error", None)
        assert "secret" not in last.response.error.message
        assert service.metric("errors_total", code="internal_error") == 1
        with pytest.raises(openai.InternalServerError) as whole:
            client.responses.create(model="fake", input=PLAIN)
        assert whole.value.code == "internal_error"


def user(*parts: object) -> dict[str, object]:
    return {"role": "user", "content": list(parts)}


PICTURE = {"type": "input_image", "image_url": IMAGE}
WORDS = {"type": "input_text", "text": "a"}
ASKING = user(PICTURE, WORDS)

BAD: list[tuple[str, dict[str, Any], str, str]] = [
    ("no input", {}, "missing_required_parameter", "input"),
    ("input without an image", {"input": "what is it?"}, "unsupported_content", "input"),
    ("input of a wrong type", {"input": 5}, "invalid_type", "input"),
    ("empty input", {"input": []}, "invalid_value", "input"),
    ("no object", {"input": ["hello"]}, "invalid_type", "input[0]"),
    ("two images", {"input": [user(PICTURE, PICTURE)]}, "too_many_images", "input[0].content[1]"),
    ("no image", {"input": [user(WORDS)]}, "missing_required_parameter", "input[0].content"),
    ("image of the system's", {"input": [{"role": "system", "content": [PICTURE]}, ASKING]}, "unsupported_content",
     "input[0].content[0]"),
    ("stored file", {"input": [user({"type": "input_image", "file_id": "file-1"})]}, "unsupported_content",
     "input[0].content[0].file_id"),
    ("file part", {"input": [user(PICTURE, {"type": "input_file", "file_url": "a"})]}, "unsupported_content",
     "input[0].content[1]"),
    ("unknown item", {"input": [{"type": "essay"}, ASKING]}, "unsupported_content", "input[0]"),
    ("a part for an item", {"input": [PICTURE, ASKING]}, "unsupported_content", "input[0]"),
    ("no role", {"input": [{"content": "a"}, ASKING]}, "missing_required_parameter", "input[0].role"),
    ("unknown key", {"input": [ASKING | {"name": "me"}]}, "unknown_parameter", "input[0].name"),
    ("instructions of a wrong type", {"instructions": 5}, "invalid_type", "instructions"),
    ("no tokens", {"max_output_tokens": 0}, "invalid_value", "max_output_tokens"),
    ("more tokens than fit", {"max_output_tokens": 5, "min_tokens": 6}, "invalid_value", "min_tokens"),
    ("unknown extra", {"include": ["colour"]}, "invalid_value", "include[0]"),
    ("top_logprobs alone", {"top_logprobs": 1}, "invalid_value", "top_logprobs"),
    ("logprobs of beams", {"include": ["message.output_text.logprobs"], "num_beams": 2}, "unsupported_parameter",
     "include"),
    ("earlier response", {"previous_response_id": "resp_1"}, "unsupported_parameter", "previous_response_id"),
    ("chat's limit", {"max_tokens": 5}, "unknown_parameter", "max_tokens"),
    ("n", {"n": 2}, "unknown_parameter", "n"),
]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("body", "code", "param"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
def test_bad_input_is_refused_by_name(
    captions: Service, body: dict[str, Any], code: str, param: str, stream: bool
) -> None:
    given = body if code == "missing_required_parameter" and param == "input" else {"input": [ASKING]} | body
    response = captions.client.post("/v1/responses", json=given | {"stream": stream})
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)


def test_errors_arrive_as_the_sdk_s(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        client.responses.create(model="fake", input="what is it?")
    assert (bad.value.type, bad.value.code, bad.value.param) == (
        "invalid_request_error", "unsupported_content", "input"
    )  # fmt: skip
    with pytest.raises(openai.NotFoundError) as unknown, client.responses.stream(model="nobody/nothing", input=PLAIN):
        pass
    assert unknown.value.code == "model_not_found"


def test_a_model_of_another_task_is_refused() -> None:
    with serving(fake_settings(), always(FakeModel())) as service, sdk(service) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.create(model="fake", input=PLAIN, stream=True)
        assert (refused.value.code, refused.value.param) == ("task_not_supported", "model")
