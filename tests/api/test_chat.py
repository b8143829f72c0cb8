"""`POST /v1/chat/completions`, through the OpenAI client."""

import asyncio
import json
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from blip_serve.catalogue import embedded_card
from blip_serve.domain import GenerationOptions, generation_cost
from blip_serve.models.fake import FakeModel, FakeWork
from blip_serve.settings import DEMO_CAPTIONS
from tests.support.asking import IMAGE, chat_messages
from tests.support.generating import Recorder, Stepwise
from tests.support.server import Service, always, fake_settings, sdk, serving, with_key
from tests.support.waiting import WAIT_S, wait_until

PLAIN = chat_messages("a photo of")


Options = Callable[..., GenerationOptions]


@pytest.fixture
def options_of(captions: Service, recorder: Recorder) -> Options:
    """The options that a body's request reaches the model with."""

    def ask(**body: Any) -> GenerationOptions:
        response = captions.client.post("/v1/chat/completions", json={"messages": chat_messages("a")} | body)
        assert response.status_code == 200, response.text
        return recorder.items[-1].options

    return ask


def joined(chunks: list[ChatCompletionChunk], index: int = 0) -> str:
    """The text of one choice."""
    choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
    return "".join(choice.delta.content or "" for choice in choices)


def test_a_caption_has_the_documented_shape(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="fake", messages=PLAIN)
    [choice] = answer.choices
    assert (answer.object, answer.model, answer.system_fingerprint) == ("chat.completion", "test/fake", None)
    assert answer.id.startswith("chatcmpl-")
    assert (choice.index, choice.finish_reason, choice.logprobs) == (0, "stop", None)
    assert (choice.message.role, choice.message.refusal) == ("assistant", None)
    assert choice.message.content is not None
    assert choice.message.content.startswith("a photo of ")
    assert answer.usage is not None
    assert answer.usage.model_dump(exclude_none=True) == {
        "prompt_tokens": 13, "completion_tokens": 7, "total_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 0, "image_tokens": 10},
    }  # fmt: skip


def test_a_whole_answer_tells_where_its_time_went(client: openai.OpenAI) -> None:
    headers = client.chat.completions.with_raw_response.create(model="fake", messages=PLAIN).headers
    assert headers["server-timing"].startswith("fetch;dur=")


def test_n_gives_so_many_texts(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="fake", messages=PLAIN, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in answer.choices}) == 3


def test_a_text_cut_short_says_so(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="fake", messages=PLAIN, max_tokens=2)
    assert answer.choices[0].finish_reason == "length"
    assert len((answer.choices[0].message.content or "").split()) == 3 + 2
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 2


def test_logprobs_are_those_of_the_tokens(client: openai.OpenAI, recorder: Recorder) -> None:
    answer = client.chat.completions.create(model="fake", messages=PLAIN, logprobs=True, top_logprobs=2)
    assert recorder.items[-1].options.top_logprobs == 2
    [choice] = answer.choices
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    tokens = [token.token for token in choice.logprobs.content]
    assert "a photo of" + "".join(tokens) == choice.message.content
    assert [bytes(token.bytes or ()).decode() for token in choice.logprobs.content] == tokens
    assert {token.logprob for token in choice.logprobs.content} == {-0.5}


def test_pieces_join_to_the_unstreamed_texts(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="fake", messages=PLAIN, n=2)
    with client.chat.completions.create(model="fake", messages=PLAIN, n=2, stream=True) as stream:
        chunks = list(stream)
    for choice in whole.choices:
        mine = [chunk.choices[0] for chunk in chunks if chunk.choices[0].index == choice.index]
        assert joined(chunks, choice.index) == choice.message.content
        assert mine[0].delta.role == "assistant"
        assert all(piece.delta.role is None for piece in mine[1:])
        assert [piece.finish_reason for piece in mine] == [None] * (len(mine) - 1) + ["stop"]
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_ends_with_its_usage_where_asked_and_with_done(captions: Service, client: openai.OpenAI) -> None:
    options: Any = {"include_usage": True, "include_obfuscation": False}
    with client.chat.completions.create(model="fake", messages=PLAIN, stream=True, stream_options=options) as stream:
        *chunks, last = stream
    assert last.choices == []
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens, last.usage.total_tokens) == (13, 7, 20)
    assert all("usage" in chunk.model_fields_set and chunk.usage is None for chunk in chunks)
    body = {"messages": PLAIN, "stream": True}
    response = captions.client.post("/v1/chat/completions", json=body)
    assert response.text.endswith("data: [DONE]\n\n")
    assert '"usage"' not in response.text
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert (response.headers["cache-control"], response.headers["x-accel-buffering"]) == ("no-cache", "no")
    assert response.headers["x-request-id"]


def test_a_stream_carries_the_logprobs(client: openai.OpenAI) -> None:
    with client.chat.completions.create(model="fake", messages=PLAIN, logprobs=True, stream=True) as stream:
        found = [choice.logprobs for chunk in stream for choice in chunk.choices if choice.delta.content]
    tokens = [token.token for logprobs in found if logprobs for token in logprobs.content or ()]
    assert len(tokens) == len(found) == 6
    assert all(token.startswith(" ") for token in tokens)


def test_the_sdk_s_own_reader_of_streams_works(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="fake", messages=PLAIN) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        assert "".join(deltas) == stream.get_final_completion().choices[0].message.content


def test_the_async_client_asks_and_streams(captions: Service, client: openai.OpenAI) -> None:
    async def ask() -> tuple[str | None, str]:
        async with openai.AsyncOpenAI(base_url=f"{captions.url}/v1", api_key="unused", max_retries=0) as asynchronous:
            whole = await asynchronous.chat.completions.create(model="fake", messages=PLAIN)
            async with await asynchronous.chat.completions.create(model="fake", messages=PLAIN, stream=True) as stream:
                chunks = [chunk async for chunk in stream]
            return whole.choices[0].message.content, joined(chunks)

    whole, pieces = asyncio.run(ask())
    assert whole == pieces == client.chat.completions.create(model="fake", messages=PLAIN).choices[0].message.content


def test_the_first_piece_leaves_before_the_next_is_computed() -> None:
    model = Stepwise("caption")
    with serving(fake_settings(), always(model)) as service, sdk(service) as client:
        model.allow(1)
        with client.chat.completions.create(model="fake", messages=PLAIN, stream=True) as stream:
            role, first = next(stream), next(stream)
            assert role.choices[0].delta.role == "assistant"
            assert (first.choices[0].delta.content or "").startswith("a photo of ")
            assert model.decoding_steps <= 2
            model.allow(100)
            rest = list(stream)
        assert rest[-1].choices[0].finish_reason == "stop"
        whole = client.chat.completions.create(model="fake", messages=PLAIN)
        assert joined([first, *rest]) == whole.choices[0].message.content


def test_a_fault_mid_stream_is_told_in_the_stream(capfd: pytest.CaptureFixture[str]) -> None:
    fails = iter([False, False, True])

    def fail(works: Sequence[FakeWork]) -> None:
        if works[0].phase == "decode" and next(fails, False):
            raise RuntimeError("the secret cause")

    with serving(fake_settings(), always(FakeModel("caption", on_launch=fail))) as service, sdk(service) as client:
        with client.chat.completions.create(model="fake", messages=PLAIN, stream=True) as stream:
            assert next(stream).choices[0].delta.role == "assistant"
            assert (next(stream).choices[0].delta.content or "").startswith("a photo of ")
            with pytest.raises(openai.APIError) as told:
                list(stream)
        assert (told.value.type, told.value.code, told.value.param) == ("server_error", "internal_error", None)
        assert "secret" not in told.value.message
        assert service.metric("errors_total", code="internal_error") == 1
        assert service.metric("queue_requests") == 0
        text = service.client.post("/v1/chat/completions", json={"messages": PLAIN, "stream": True}).text
        assert text.endswith("data: [DONE]\n\n")
    assert "the secret cause" in capfd.readouterr().err


def test_greedy_is_the_default(options_of: Options) -> None:
    options = options_of()
    assert options == GenerationOptions(seed=options.seed)
    nulls = dict.fromkeys(
        ("n", "temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "seed", "stream", "logprobs",
         "top_logprobs", "stream_options", "num_beams", "min_tokens", "repetition_penalty", "protocol", "model",
         "top_k", "min_p", "ignore_eos", "guided_choice", "guided_json", "structured_outputs", "response_format")
    )  # fmt: skip
    options = options_of(**nulls)
    assert options == GenerationOptions(seed=options.seed)


@pytest.mark.parametrize(
    "given", [{"max_tokens": 1024}, {"max_completion_tokens": 10**9}, {"max_tokens": 1e300}, {"max_tokens": 513}]
)
def test_more_tokens_than_there_is_room_for_are_as_many_as_there_is(options_of: Options, given: dict[str, Any]) -> None:
    assert options_of(**given).max_tokens == 512


def test_a_large_max_tokens_is_admitted_at_what_it_comes_to() -> None:
    """The queue has room for one text of the most tokens there may be, and of a known model for its positions."""
    limits = {"max_images": 1, "max_captions": 1, "max_pairs": 1, "max_zip_pairs": 1, "max_choices": 1, "max_beams": 1,
              "max_explanations": 1}  # fmt: skip
    room = {"limits": {**limits, "max_new_tokens": 100}, "engine": {"max_queue_cost": generation_cost(1, 100)}}
    with serving(fake_settings(**room), always(FakeModel("caption"))) as service, sdk(service) as client:
        answer = client.chat.completions.create(model="fake", messages=PLAIN, max_tokens=10**9)
        assert answer.choices[0].finish_reason == "stop"
    held = Stepwise("caption")
    positions = embedded_card("demo-captioning").shape.text_positions  # type: ignore[union-attr]
    room["engine"] = {"max_queue_cost": 2 * generation_cost(1, positions)}
    room["limits"]["max_new_tokens"] = positions + 50
    model = DEMO_CAPTIONS.model_copy(update={"aliases": ("fake",)})
    with serving(fake_settings(models=(model,), **room), always(held)) as service, sdk(service) as client:

        def ask() -> Any:
            return client.chat.completions.create(model="fake", messages=PLAIN, max_tokens=10**9).choices

        with ThreadPoolExecutor() as threads:
            first = threads.submit(ask)
            wait_until(lambda: held.decoding_steps == 1)
            second = threads.submit(ask)
            wait_until(lambda: service.metric("queue_requests") == 2)
            held.allow(1000)
            assert first.result(WAIT_S) == second.result(WAIT_S)


@pytest.mark.parametrize(
    ("given", "temperature", "top_p"),
    [
        ({"temperature": 0}, 0, 1),
        ({"temperature": 0.7, "top_p": 0.9}, 0.7, 0.9),
        ({"temperature": 0, "top_p": 0.9}, 0, 0.9),
        ({"top_p": 0.9}, 1, 0.9),
        ({"top_p": 1}, 0, 1),
    ],
)
def test_temperature_and_top_p(options_of: Options, given: dict[str, Any], temperature: float, top_p: float) -> None:
    options = options_of(**given)
    assert (options.temperature, options.top_p) == (temperature, top_p)


@pytest.mark.parametrize(
    ("given", "temperature", "top_k", "min_p"),
    [
        ({"top_k": 5}, 1, 5, 0),
        ({"top_k": -1}, 0, 0, 0),
        ({"top_k": 0, "min_p": 0}, 0, 0, 0),
        ({"min_p": 0.1}, 1, 0, 0.1),
        ({"min_p": 1, "top_k": 3.0, "temperature": 0.5}, 0.5, 3, 1),
        ({"top_k": 5, "temperature": 0}, 0, 5, 0),
    ],
)
def test_top_k_and_min_p(
    options_of: Options, given: dict[str, Any], temperature: float, top_k: int, min_p: float
) -> None:
    options = options_of(**given)
    assert (options.temperature, options.top_k, options.min_p) == (temperature, top_k, min_p)


def test_a_text_that_ignores_the_end_has_all_its_tokens(client: openai.OpenAI) -> None:
    extra = {"ignore_eos": True}
    [choice] = client.chat.completions.create(model="fake", messages=PLAIN, max_tokens=9, extra_body=extra).choices
    assert (choice.finish_reason, len((choice.message.content or "").split())) == ("length", 3 + 9)


def test_each_request_draws_its_own_seed_unless_it_gives_one(options_of: Options) -> None:
    assert options_of(temperature=1).seed != options_of(temperature=1).seed
    assert options_of(temperature=1, seed=-7).seed == -7


@pytest.mark.parametrize(("stop", "read"), [(".", (".",)), ([".", " and"], (".", " and")), ([], ())])
def test_stop_is_a_string_or_several(options_of: Options, stop: object, read: tuple[str, ...]) -> None:
    assert options_of(stop=stop).stop == read


def test_the_other_options_reach_the_model(options_of: Options, recorder: Recorder) -> None:
    options = options_of(max_completion_tokens=12, min_tokens=3, num_beams=4, repetition_penalty=1.5)
    assert (options.max_tokens, options.max_tokens_param) == (12, "max_completion_tokens")
    assert (options.min_tokens, options.num_beams, options.repetition_penalty) == (3, 4, 1.5)
    assert options_of(max_tokens=9, max_completion_tokens=9).max_tokens == 9
    options_of(protocol="paper")
    assert recorder.items[-1].protocol == "paper"


@pytest.mark.parametrize(("asked", "named"), [(None, "hf"), ("paper", "paper")])
def test_every_answer_names_its_protocol(client: openai.OpenAI, asked: str | None, named: str) -> None:
    extra = {"protocol": asked}
    answer = client.chat.completions.create(model="fake", messages=PLAIN, extra_body=extra)
    chunks = list(client.chat.completions.create(model="fake", messages=PLAIN, stream=True, extra_body=extra))
    assert answer.model_dump()["protocol"] == named
    assert {chunk.model_dump()["protocol"] for chunk in chunks} == {named}


def test_several_texts_are_joined_and_system_messages_have_no_effect(client: openai.OpenAI, recorder: Recorder) -> None:
    client.chat.completions.create(
        model="fake",
        messages=[
            {"role": "system", "content": "Answer in French."},
            {"role": "developer", "content": [{"type": "text", "text": "Be brief."}], "name": "me"},
            *chat_messages("a photo", " ", "of"),
        ],
    )
    item = recorder.items[-1]
    assert (item.text.text, item.text.param) == ("a photo of", "messages[2].content")
    client.chat.completions.create(model="fake", messages=chat_messages())
    assert recorder.items[-1].text.text == ""


def test_an_answering_model_is_asked_the_question() -> None:
    model = Recorder("answer")
    with serving(fake_settings(), always(model)) as service, sdk(service) as client:
        assert client.chat.completions.create(model="fake", messages=chat_messages("what is it?")).choices
    assert model.items[-1].text.text == "what is it?"


def user(*parts: object) -> dict[str, object]:
    return {"role": "user", "content": list(parts)}


PICTURE = {"type": "image_url", "image_url": {"url": IMAGE}}
WORDS = {"type": "text", "text": "a"}
ASKING = user(PICTURE, WORDS)

BAD_MESSAGES: list[tuple[str, Any, str, str]] = [
    ("no messages", [], "invalid_value", "messages"),
    ("a string", "hello", "invalid_type", "messages"),
    ("too many", [ASKING] * 1001, "too_many_messages", "messages"),
    ("no object", [ASKING, "hello"], "invalid_type", "messages[1]"),
    ("no role", [{"content": "a"}], "missing_required_parameter", "messages[0].role"),
    ("role of a wrong type", [{"role": 5}], "invalid_type", "messages[0].role"),
    ("unknown role", [{"role": "robot", "content": "a"}, ASKING], "invalid_type", "messages[0].role"),
    ("unknown key", [ASKING | {"colour": "red"}], "unknown_parameter", "messages[0].colour"),
    ("no user", [{"role": "system", "content": "a"}], "missing_required_parameter", "messages"),
    ("no content", [{"role": "user"}], "invalid_type", "messages[0].content"),
    ("no image", [{"role": "user", "content": "a"}], "missing_required_parameter", "messages[0].content"),
    ("two images", [user(PICTURE, WORDS, PICTURE)], "too_many_images", "messages[0].content[2]"),
    ("too many parts", [user(PICTURE, *[WORDS] * 128)], "too_many_parts", "messages[0].content"),
    ("image of the system's", [{"role": "system", "content": [WORDS, PICTURE]}, ASKING], "unsupported_content",
     "messages[0].content[1]"),
    ("system without a text", [{"role": "system", "content": None}, ASKING], "invalid_type", "messages[0].content"),
    ("another item", [ASKING, {"type": "reasoning", "summary": []}], "unsupported_content", "messages[1]"),
    ("part of no type", [user({"text": "a"})], "missing_required_parameter", "messages[0].content[0].type"),
    ("audio", [user(PICTURE, {"type": "input_audio", "input_audio": {}})], "unsupported_content",
     "messages[0].content[1]"),
    ("image of a wrong type", [user({"type": "image_url", "image_url": 5})], "invalid_type",
     "messages[0].content[0].image_url"),
    ("no base64", [user({"type": "image_url", "image_url": {"url": "not base64!"}})], "invalid_base64",
     "messages[0].content[0].image_url.url"),
    ("blocked URL", [user({"type": "image_url", "image_url": {"url": "http://127.0.0.1/a"}})], "blocked_url",
     "messages[0].content[0].image_url.url"),
    ("too long a text", [user(PICTURE, {"type": "text", "text": "a" * 9000})], "input_too_long",
     "messages[0].content[1].text"),
]  # fmt: skip

BAD_OPTIONS: list[tuple[str, dict[str, Any], str, str]] = [
    ("n of nothing", {"n": 0}, "invalid_value", "n"),
    ("n negative", {"n": -1}, "invalid_value", "n"),
    ("n over the limit", {"n": 17}, "invalid_value", "n"),
    ("n of ten thousand", {"n": 10_000}, "invalid_value", "n"),
    ("n of 300 digits", {"n": 10**300}, "invalid_value", "n"),
    ("n a fraction", {"n": 1.5}, "invalid_type", "n"),
    ("n a truth value", {"n": True}, "invalid_type", "n"),
    ("NaN", {"temperature": math.nan}, "invalid_value", "temperature"),
    ("infinite", {"temperature": math.inf}, "invalid_value", "temperature"),
    ("NaN as a string", {"temperature": "nan"}, "invalid_value", "temperature"),
    ("temperature as a string", {"temperature": "0.5"}, "invalid_type", "temperature"),
    ("cold", {"temperature": -0.1}, "invalid_value", "temperature"),
    ("hot", {"temperature": 2.1}, "invalid_value", "temperature"),
    ("top_p of nothing", {"top_p": 0}, "invalid_value", "top_p"),
    ("top_p over 1", {"top_p": 1.1}, "invalid_value", "top_p"),
    ("top_p not a number", {"top_p": math.nan}, "invalid_value", "top_p"),
    ("top_k below all", {"top_k": -2}, "invalid_value", "top_k"),
    ("top_k a fraction", {"top_k": 1.5}, "invalid_type", "top_k"),
    ("min_p over 1", {"min_p": 1.1}, "invalid_value", "min_p"),
    ("min_p not a number", {"min_p": "nan"}, "invalid_value", "min_p"),
    ("ignore_eos of a wrong type", {"ignore_eos": 1}, "invalid_type", "ignore_eos"),
    ("no tokens", {"max_tokens": 0}, "invalid_value", "max_tokens"),
    ("two limits", {"max_tokens": 5, "max_completion_tokens": 6}, "invalid_value", "max_tokens"),
    ("stop of a wrong type", {"stop": 5}, "invalid_type", "stop"),
    ("stops of a wrong type", {"stop": ["a", 5]}, "invalid_type", "stop[1]"),
    ("empty stop", {"stop": ["a", ""]}, "invalid_value", "stop[1]"),
    ("empty stop alone", {"stop": ""}, "invalid_value", "stop"),
    ("over-long stop alone", {"stop": "a" * 1001}, "invalid_value", "stop"),
    ("five stops", {"stop": ["a"] * 5}, "invalid_value", "stop"),
    ("over-long stop", {"stop": ["a" * 1001]}, "invalid_value", "stop[0]"),
    ("seed of a wrong type", {"seed": "a"}, "invalid_type", "seed"),
    ("seed of 65 bits", {"seed": 2**63}, "invalid_value", "seed"),
    ("stream of a wrong type", {"stream": "yes"}, "invalid_type", "stream"),
    ("stream options alone", {"stream_options": {"include_usage": True}}, "invalid_value", "stream_options"),
    ("stream options of a wrong type", {"stream": True, "stream_options": []}, "invalid_type", "stream_options"),
    ("usage of a wrong type", {"stream": True, "stream_options": {"include_usage": 1}}, "invalid_type",
     "stream_options.include_usage"),
    ("unknown stream option", {"stream": True, "stream_options": {"colour": 1}}, "unknown_parameter",
     "stream_options.colour"),
    ("top_logprobs alone", {"top_logprobs": 3}, "invalid_value", "top_logprobs"),
    ("too many top_logprobs", {"logprobs": True, "top_logprobs": 21}, "invalid_value", "top_logprobs"),
    ("logprobs of a wrong type", {"logprobs": 3}, "invalid_type", "logprobs"),
    ("logprobs of beams", {"logprobs": True, "num_beams": 3}, "unsupported_parameter", "logprobs"),
    ("beams that sample", {"temperature": 1, "num_beams": 3}, "invalid_value", "temperature"),
    ("beams with a nucleus", {"top_p": 0.5, "num_beams": 3}, "invalid_value", "top_p"),
    ("beams with top_k", {"top_k": 5, "num_beams": 3}, "invalid_value", "top_k"),
    ("beams with min_p", {"min_p": 0.5, "num_beams": 3}, "invalid_value", "min_p"),
    ("more texts than beams", {"n": 4, "num_beams": 3}, "invalid_value", "n"),
    ("too many beams", {"num_beams": 9}, "invalid_value", "num_beams"),
    ("more tokens than fit", {"min_tokens": 6, "max_tokens": 5}, "invalid_value", "min_tokens"),
    ("more tokens than the limit", {"min_tokens": 513, "max_tokens": 1024}, "invalid_value", "min_tokens"),
    ("min_tokens negative", {"min_tokens": -1}, "invalid_value", "min_tokens"),
    ("penalty of nothing", {"repetition_penalty": 0}, "invalid_value", "repetition_penalty"),
    ("unknown protocol", {"protocol": "mine"}, "invalid_value", "protocol"),
    ("model of a wrong type", {"model": 5}, "invalid_type", "model"),
    ("a function", {"tools": [{"type": "function"}]}, "unsupported_parameter", "tools"),
    ("a penalty", {"frequency_penalty": 0.5}, "unsupported_parameter", "frequency_penalty"),
    ("JSON", {"response_format": {"type": "json_object"}}, "unsupported_parameter", "response_format"),
    ("unknown", {"colour": "red"}, "unknown_parameter", "colour"),
]  # fmt: skip

BAD = [(bad[0], {"messages": bad[1]}, *bad[2:]) for bad in BAD_MESSAGES] + [
    (bad[0], {"messages": [ASKING]} | bad[1], *bad[2:]) for bad in BAD_OPTIONS
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("body", "code", "param"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
def test_bad_input_is_refused_by_name(
    captions: Service, capfd: pytest.CaptureFixture[str], body: dict[str, Any], code: str, param: str, stream: bool
) -> None:
    given = {"stream": True} | body if stream and "stream_options" not in body else body
    headers = {"content-type": "application/json"}
    response = captions.client.post("/v1/chat/completions", content=json.dumps(given), headers=headers)
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)
    assert len(error["message"]) < 500
    assert "pydantic" not in error["message"]
    assert "error" not in capfd.readouterr().err


def test_errors_arrive_as_the_sdk_s(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model="fake", messages=PLAIN, n=100)
    assert (bad.value.type, bad.value.code, bad.value.param) == ("invalid_request_error", "invalid_value", "n")
    with pytest.raises(openai.BadRequestError) as streamed:
        client.chat.completions.create(model="fake", messages=PLAIN, n=100, stream=True)
    assert streamed.value.param == "n"
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="nobody/nothing", messages=PLAIN, stream=True)
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")


def test_a_wrong_key_and_a_full_queue_arrive_as_the_sdk_s() -> None:
    model = FakeModel("caption")
    limits = {
        "max_images": 1,
        "max_zip_pairs": 1,
        "max_captions": 10,
        "max_pairs": 10,
        "max_choices": 1,
        "max_beams": 1,
        "max_new_tokens": 20,
        "max_explanations": 1,
    }
    chosen = fake_settings(auth=with_key("right"), limits=limits, engine={"max_queue_cost": 70})
    with serving(chosen, always(model)) as service, sdk(service, "right") as client, sdk(service, "wrong") as stranger:
        with pytest.raises(openai.AuthenticationError) as wrong:
            stranger.chat.completions.create(model="fake", messages=PLAIN)
        assert wrong.value.code == "invalid_api_key"
        model.open.clear()
        with client.chat.completions.create(model="fake", messages=PLAIN, stream=True) as stream:
            with pytest.raises(openai.RateLimitError) as full:
                client.chat.completions.create(model="fake", messages=PLAIN, stream=True)
            model.open.set()
            assert joined(list(stream))
        assert (full.value.type, full.value.code) == ("rate_limit_error", "overloaded")


def test_a_stream_cut_off_by_the_shutdown_does_not_look_whole() -> None:
    model = Stepwise("caption")
    chunks: list[ChatCompletionChunk] = []

    def read(url: str) -> None:
        with (
            openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0, timeout=WAIT_S) as client,
            client.chat.completions.create(model="fake", messages=PLAIN, stream=True) as stream,
            pytest.raises(openai.APIConnectionError),
        ):
            chunks.extend(stream)

    with ThreadPoolExecutor() as reader:
        with serving(fake_settings(server={"drain_timeout_s": 0}), always(model)) as service:
            model.allow(1)
            reading = reader.submit(read, service.url)
            wait_until(lambda: model.decoding_steps == 2)
        model.allow(100)
        reading.result(WAIT_S)
    assert joined(chunks).startswith("a photo of ")


def test_a_model_of_another_task_is_refused() -> None:
    with serving(fake_settings(), always(FakeModel())) as service, sdk(service) as client:
        for stream in (False, True):
            with pytest.raises(openai.BadRequestError) as refused:
                client.chat.completions.create(model="fake", messages=PLAIN, stream=stream)
            assert (refused.value.code, refused.value.param) == ("task_not_supported", "model")
