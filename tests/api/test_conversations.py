"""Conversations, as clients of the field send them: the last that was said counts, and the most recent image."""

from collections.abc import Callable, Iterator
from typing import Any, get_args, get_type_hints

import openai
import pytest
from openai.types.responses.response_input_item_param import ResponseInputItemParam

from blip_serve.api.messages import OTHER_ITEMS, WITHOUT_EFFECT
from tests.support.generating import Recorder
from tests.support.pictures import data_uri, picture
from tests.support.server import Service, always, fake_settings, sdk, serving

FIRST, SECOND = data_uri(picture(1)), data_uri(picture(2))
UNREADABLE = {"type": "image_url", "image_url": {"url": "http://127.0.0.1/not-to-be-fetched.png"}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def image(uri: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": uri, "detail": "auto"}}


def user(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts), **more}


def said(words: str | None, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": words, **more}


ASKED = user(image(FIRST), text("what is it?"))

CHATS: list[tuple[str, list[dict[str, Any]], str, str, str]] = [
    ("a second turn", [ASKED, said("a dog"), user(text("what colour?"))], "what colour?", FIRST, "[2].content[0].text"),
    ("a second turn in a string", [ASKED, said("a dog"), {"role": "user", "content": "what colour?"}],
     "what colour?", FIRST, "[2].content"),
    ("a third turn", [ASKED, said("a"), user(text("b")), said("c"), user(text("d"))], "d", FIRST,
     "[4].content[0].text"),
    ("a newer picture", [ASKED, said("a dog"), user(image(SECOND), text("and here?"))], "and here?", SECOND,
     "[2].content[1].text"),
    ("a newer picture alone", [ASKED, said("a dog"), user(image(SECOND))], "", SECOND, "[2].content"),
    ("the most recent of two pictures", [ASKED, said("a"), user(image(SECOND)), said("b"), user(text("c"))], "c",
     SECOND, "[4].content[0].text"),
    ("the last picture of an earlier message", [user(image(FIRST), image(SECOND)), said("a"), user(text("b"))], "b",
     SECOND, "[2].content[0].text"),
    ("a picture, then its question", [user(image(FIRST)), user(text("what is it?"))], "what is it?", FIRST,
     "[1].content[0].text"),
    ("a question, then its picture", [user(text("what is it?")), user(image(FIRST))], "what is it?", FIRST,
     "[0].content[0].text"),
    ("a system message between", [user(image(FIRST)), {"role": "system", "content": "x"}, user(text("what?"))],
     "what?", FIRST, "[2].content[0].text"),
    ("words in two messages", [user(image(FIRST), text("is it")), user(text("a dog?"))], "a dog?", FIRST,
     "[1].content[0].text"),
    ("a picture that is not asked about", [user(UNREADABLE), said("a"), ASKED], "what is it?", FIRST,
     "[2].content[1].text"),
    ("pictures that no one can count", [user(*[UNREADABLE] * 200), said("a"), ASKED], "what is it?", FIRST,
     "[2].content[1].text"),
    ("an answer begun", [ASKED, said("it is a")], "what is it?", FIRST, "[0].content[1].text"),
    ("an answer in parts", [ASKED, {"role": "assistant", "content": [text("a"), {"type": "refusal", "refusal": "b"}]},
     user(text("c"))], "c", FIRST, "[2].content[0].text"),
    ("tools", [ASKED, said(None, tool_calls=[CALL]), {"role": "tool", "tool_call_id": "call_1", "content": "5"}],
     "what is it?", FIRST, "[0].content[1].text"),
    ("tools and a turn", [ASKED, {"role": "assistant", "tool_calls": [CALL]},
     {"role": "tool", "tool_call_id": "call_1", "content": [text("5")]}, said("five"), user(text("why?"))], "why?",
     FIRST, "[4].content[0].text"),
    ("a function", [ASKED, said(None, function_call={"name": "f", "arguments": "{}"}),
     {"role": "function", "name": "f", "content": "5"}, user(text("why?"))], "why?", FIRST, "[3].content[0].text"),
    ("an answer as it was given", [ASKED, said("a", refusal=None, annotations=[], audio=None, reasoning_content="hm",
     provider_specific_fields={}, tool_calls=None), user(text("b"))], "b", FIRST, "[2].content[0].text"),
    ("nulls", [user({**image(FIRST), "text": None}, {**text("a"), "image_url": None}, name=None, tool_calls=None,
     refusal=None)], "a", FIRST, "[0].content[1].text"),
    ("an image as a bare string", [user({"type": "image_url", "image_url": FIRST}, text("a"))], "a", FIRST,
     "[0].content[1].text"),
    ("two pictures in a row", [user(image(FIRST)), user(text("a"), image(SECOND))], "a", SECOND,
     "[1].content[0].text"),
    ("two texts in a row", [user(text("a"), image(FIRST)), user(text("b"))], "b", FIRST, "[1].content[0].text"),
    ("a hundred turns", [ASKED, said("a")] * 100 + [user(text("and now?"))], "and now?", FIRST,
     "[200].content[0].text"),
]  # fmt: skip


def as_input(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A chat as items of the Responses interface: the user's and the assistant's parts by their other names."""
    items: list[dict[str, Any]] = []
    for message in messages:
        kind = "output_text" if message["role"] == "assistant" else "input_text"
        parts = message["content"]
        if isinstance(parts, list):
            parts = [
                {"type": "input_image", "image_url": part["image_url"]["url"], "detail": "auto"}
                if part["type"] == "image_url"
                else {**part, "type": kind if part["type"] == "text" else part["type"]}
                for part in parts
            ]
        items.append({"role": message["role"], "content": parts})
    return items


PLAIN = [chat for chat in CHATS if chat[0] not in ("tools", "tools and a turn", "a function", "nulls",
                                                   "an image as a bare string")]  # fmt: skip
CREATED: Any = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": "a dog", "annotations": [], "logprobs": []}]}  # fmt: skip
SEEN, WHY = as_input([ASKED]), as_input([user(text("why?"))])
INPUTS: list[tuple[str, list[dict[str, Any]]]] = [
    ("an answer as it was given", [*SEEN, CREATED, *WHY]),
    ("an answer by its id", [*SEEN, {"type": "item_reference", "id": "msg_1"}, *WHY]),
    ("an answer by its id alone", [*SEEN, {"id": "msg_1"}, *WHY]),
    ("a message with an id", [{**SEEN[0], "type": "message", "id": "msg_0", "status": "completed"}, CREATED, *WHY]),
    ("thoughts and tools", [*SEEN, {"type": "reasoning", "id": "rs_1", "summary": []},
     {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
     {"type": "function_call_output", "call_id": "1", "output": "5"}, CREATED, *WHY]),
]  # fmt: skip


@pytest.fixture
def asked(recorder: Recorder) -> Callable[[], tuple[str, str, str]]:
    """What the model was last asked: the text, its field, and the image's digest."""

    def last() -> tuple[str, str, str]:
        item = recorder.items[-1]
        return item.text.text, item.text.param, item.image.digest

    return last


@pytest.fixture(scope="module")
def digests(client: openai.OpenAI, recorder: Recorder) -> dict[str, str]:
    """Of the pictures."""
    found = {}
    for uri in (FIRST, SECOND):
        client.chat.completions.create(model="fake", messages=[user(image(uri))])  # type: ignore[list-item]
        found[uri] = recorder.items[-1].image.digest
    return found


Last = Callable[[], tuple[str, str, str]]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("chat", "words", "uri", "param"), [case[1:] for case in CHATS], ids=[c[0] for c in CHATS])
def test_the_last_that_was_said_counts_and_the_most_recent_image(
    client: openai.OpenAI,
    asked: Last,
    digests: dict[str, str],
    chat: Any,
    words: str,
    uri: str,
    param: str,
    stream: bool,
) -> None:
    answer: Any = client.chat.completions.create(model="fake", messages=chat, stream=stream)
    assert list(answer) if stream else answer.choices
    assert asked() == (words, f"messages{param}", digests[uri])


@pytest.mark.parametrize(("chat", "words", "uri", "param"), [case[1:] for case in PLAIN], ids=[c[0] for c in PLAIN])
def test_so_it_is_in_responses(
    client: openai.OpenAI, asked: Last, digests: dict[str, str], chat: Any, words: str, uri: str, param: str
) -> None:
    given: Any = as_input(chat)
    assert client.responses.create(model="fake", input=given).output_text
    assert asked() == (words, f"input{param}", digests[uri])


@pytest.mark.parametrize("given", [case[1] for case in INPUTS], ids=[case[0] for case in INPUTS])
def test_what_else_an_input_holds_has_no_effect(
    client: openai.OpenAI, asked: Last, digests: dict[str, str], given: Any
) -> None:
    assert client.responses.create(model="fake", input=given).output_text
    assert asked() == ("why?", f"input[{len(given) - 1}].content[0].text", digests[FIRST])


def test_a_response_s_own_output_is_an_input(client: openai.OpenAI, asked: Last, digests: dict[str, str]) -> None:
    first: Any = as_input([ASKED])
    answer = client.responses.create(model="fake", input=first)
    again = client.responses.create(model="fake", input=[*first, *answer.output, *WHY])  # type: ignore[list-item]
    assert again.status == "completed"
    assert asked()[0] == "why?"


def test_every_item_of_the_sdk_is_known() -> None:
    kinds = set()
    for item in get_args(ResponseInputItemParam):
        kinds |= {value for part in _literals(get_type_hints(item).get("type")) for value in part}
    assert kinds == OTHER_ITEMS | {"message"}


def _literals(hint: Any) -> Iterator[tuple[Any, ...]]:
    arguments = get_args(hint)
    if arguments and all(isinstance(each, str) for each in arguments):
        yield arguments
    else:
        for each in arguments:
            yield from _literals(each)


BAD: list[tuple[str, list[Any], str, str]] = [
    ("no image in any turn", [user(text("a")), said("b"), user(text("c"))], "missing_required_parameter",
     "messages[2].content"),
    ("two pictures in one message", [ASKED, said("a"), user(image(FIRST), image(SECOND))], "too_many_images",
     "messages[2].content[1]"),
    ("an image of the assistant's alone", [said("a", images=[image(FIRST)]), user(text("b"))],
     "missing_required_parameter", "messages[1].content"),
    ("the most recent image is none", [ASKED, said("a"), user({"type": "image_url"}), said("b"), user(text("c"))],
     "invalid_type", "messages[2].content[0].image_url"),
    ("the most recent image may not be fetched", [ASKED, said("a"), user(UNREADABLE), said("b"), user(text("c"))],
     "blocked_url", "messages[2].content[0].image_url.url"),
    ("an answer of a wrong type", [ASKED, said(5), user(text("a"))],  # type: ignore[arg-type]
     "invalid_type", "messages[1].content"),
    ("an earlier message of a wrong type", [{"role": "user", "content": 5}, said("a"), ASKED], "invalid_type",
     "messages[0].content"),
    ("an unknown role", [ASKED, {"role": "robot", "content": "a"}, ASKED], "invalid_type", "messages[1].role"),
    ("only an answer", [said("a")], "missing_required_parameter", "messages"),
]  # fmt: skip


@pytest.mark.parametrize(("chat", "code", "param"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
def test_what_cannot_be_read_is_refused_by_name(client: openai.OpenAI, chat: Any, code: str, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="fake", messages=chat)
    assert (refused.value.code, refused.value.param) == (code, param)


@pytest.fixture(scope="module")
def strict() -> Iterator[Service]:
    """A service that is told to refuse conversations."""
    with serving(fake_settings(chat={"history": "refuse"}), always(Recorder("caption"))) as running:
        yield running


REFUSED: list[tuple[str, list[dict[str, Any]], int]] = [
    ("earlier turns", [ASKED, said("a dog"), ASKED], 1),
    ("two user messages", [user(text("a")), ASKED], 0),
    ("a prefilled answer", [ASKED, said("a")], 1),
    ("a tool call", [ASKED, said(None, tool_calls=[CALL])], 1),
    ("a tool's result", [ASKED, {"role": "tool", "tool_call_id": "1", "content": "a"}], 1),
    ("a function's result", [{"role": "function", "name": "f", "content": "a"}], 0),
]


@pytest.mark.parametrize(("chat", "place"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_service_may_refuse_conversations(strict: Service, chat: Any, place: int) -> None:
    with sdk(strict) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            client.chat.completions.create(model="fake", messages=chat)
        assert (refused.value.code, refused.value.param) == ("unsupported_content", f"messages[{place}]")
        answers: Any = {"input": [*as_input([ASKED]), {"type": "reasoning", "summary": []}]}
        with pytest.raises(openai.BadRequestError) as unread:
            client.responses.create(model="fake", **answers)
        assert (unread.value.code, unread.value.param) == ("unsupported_content", "input[1]")
        alone: Any = [{"role": role, "content": "Be brief."} for role in WITHOUT_EFFECT] + [ASKED]
        assert client.chat.completions.create(model="fake", messages=alone).choices
