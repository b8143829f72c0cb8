"""Texts that a request leaves to choose from: the likeliest is the answer. Through the OpenAI client."""

import json
import math
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from PIL import Image

from blip_serve.catalogue import EMBEDDED
from blip_serve.models.fake import FakeModel
from blip_serve.settings import DEMO_ANSWERS, DEMO_CAPTIONS
from tests.support.asking import chat_messages, response_input
from tests.support.pictures import data_uri
from tests.support.reference import AnswerReference
from tests.support.server import Service, always, fake_settings, sdk, serving, settings

PICTURE = EMBEDDED / "pictures" / "blue-square-green-star.png"
URI = data_uri(Image.open(PICTURE))
QUESTION = "what colour is the star?"
COLOURS = ["red", "Green", "blue"]
CAPTIONS, ANSWERS = "demo-captioning", "demo-vqa"


def about(text: str) -> Any:
    return [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": URI}}, {"type": "text", "text": text}]}
    ]


def schema(*values: Any, **more: Any) -> dict[str, Any]:
    return {"enum": list(values), **more}


def response_format(of: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "colour", "schema": of, "strict": True}}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving(settings(models=(DEMO_CAPTIONS, DEMO_ANSWERS))) as running:
        yield running


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[openai.OpenAI]:
    with sdk(service) as running:
        yield running


WAYS: list[tuple[str, dict[str, Any], str]] = [
    ("guided_choice", {"guided_choice": COLOURS}, "Green"),
    ("structured_outputs", {"structured_outputs": {"choice": COLOURS}}, "Green"),
    ("structured_outputs with nulls", {"structured_outputs": {"choice": COLOURS, "regex": None, "json_object": False,
     "disable_any_whitespace": True}}, "Green"),
    ("response_format", {"response_format": response_format(schema(*COLOURS, type="string"))}, '"Green"'),
    ("a schema without a type", {"response_format": response_format(schema(*COLOURS, title="Colour"))}, '"Green"'),
    ("guided_json", {"guided_json": schema(*COLOURS)}, '"Green"'),
    ("guided_json as text", {"guided_json": json.dumps(schema(*COLOURS))}, '"Green"'),
    ("structured_outputs' json", {"structured_outputs": {"json": schema(*COLOURS)}}, '"Green"'),
    ("what ends or draws texts", {"guided_choice": COLOURS, "max_tokens": 1, "stop": "G", "temperature": 2, "seed": 1,
     "num_beams": 3, "guided_decoding_backend": "outlines"}, "Green"),
    ("one text", {"guided_choice": ["a large dog"]}, "a large dog"),
]  # fmt: skip


@pytest.mark.parametrize(("extra", "shown"), [way[1:] for way in WAYS], ids=[way[0] for way in WAYS])
def test_the_likeliest_of_the_given_answers_is_given(client: openai.OpenAI, extra: dict[str, Any], shown: str) -> None:
    answer = client.chat.completions.create(model=ANSWERS, messages=about(QUESTION), extra_body=extra)
    [choice] = answer.choices
    assert (choice.message.content, choice.finish_reason) == (shown, "stop")
    stream = client.chat.completions.create(model=ANSWERS, messages=about(QUESTION), extra_body=extra, stream=True)
    chunks = [chunk.choices[0] for chunk in stream]
    assert "".join(chunk.delta.content or "" for chunk in chunks) == shown
    assert chunks[-1].finish_reason == "stop"


def test_it_is_the_likeliest_by_the_definition(client: openai.OpenAI) -> None:
    reference = AnswerReference(EMBEDDED / "demo-vqa")
    answers = ["one", "two", "a blue square", "yes", "large", "red"]
    for question in ("how many shapes are there?", "what colour is the square?", "is there a star?"):
        likelihoods = [reference.log_likelihood(PICTURE.read_bytes(), question, answer) for answer in answers]
        extra = {"guided_choice": answers}
        answer = client.chat.completions.create(model=ANSWERS, messages=about(question), extra_body=extra)
        assert answer.choices[0].message.content == answers[likelihoods.index(max(likelihoods))]


def test_the_client_s_own_argument_asks_for_a_schema(client: openai.OpenAI) -> None:
    shape: Any = response_format(schema("two", "three"))
    answer = client.chat.completions.create(
        model=ANSWERS, messages=about("how many shapes are there?"), response_format=shape
    )
    assert json.loads(answer.choices[0].message.content or "") == "two"


@pytest.mark.parametrize(
    ("question", "values", "kind", "shown"),
    [
        ("is there a star?", (True, False, "yes", "no"), None, '"yes"'),
        ("is there a star?", ("no", "yes"), ["string", "null"], '"yes"'),
        ("what colour is the star?", ("red", 5, None, 2.5, True), None, '"red"'),
    ],
)
def test_values_are_shown_as_json(
    client: openai.OpenAI, question: str, values: tuple[Any, ...], kind: Any, shown: str
) -> None:
    of = schema(*values, **({"type": kind} if kind else {}))
    extra = {"guided_json": of}
    answer = client.chat.completions.create(model=ANSWERS, messages=about(question), extra_body=extra)
    content = answer.choices[0].message.content or ""
    assert json.loads(content) in values
    assert content == shown


@pytest.mark.parametrize(
    ("model", "text", "given", "likeliest"),
    [
        (f"{CAPTIONS}:plain", "Which one?", ["a large red circle", "a large blue square and a small green star"], 1),
        (CAPTIONS, "", ["a large red circle", "a large blue square and a small green star", "a star"], 1),
        (CAPTIONS, "a large blue", ["circle", "square and a small green star", "star"], 1),
    ],
)
def test_a_captioning_model_gives_the_likeliest_caption(
    client: openai.OpenAI, model: str, text: str, given: list[str], likeliest: int
) -> None:
    for texts in (given, given[::-1]):
        answer = client.chat.completions.create(
            model=model, messages=about(text), extra_body={"guided_choice": texts}, n=2
        )
        assert [choice.message.content for choice in answer.choices] == [given[likeliest]] * 2
        assert [choice.index for choice in answer.choices] == [0, 1]


@pytest.mark.parametrize(
    ("extra", "shown"),
    [
        ({"text": {"format": {"type": "json_schema", "name": "c", "schema": schema(*COLOURS), "strict": True}}},
         '"Green"'),
        ({"text": {"format": {"type": "json_schema", "name": "c", "schema": schema(*COLOURS)}, "verbosity": "medium"}},
         '"Green"'),
        ({"guided_choice": COLOURS}, "Green"),
        ({"structured_outputs": {"choice": COLOURS}, "text": {"format": {"type": "text"}}}, "Green"),
    ],
)  # fmt: skip
def test_so_it_is_in_responses(client: openai.OpenAI, extra: dict[str, Any], shown: str) -> None:
    parts: Any = [{"type": "input_image", "image_url": URI}, {"type": "input_text", "text": QUESTION}]
    asked: Any = {"model": ANSWERS, "input": [{"role": "user", "content": parts}]}
    response = client.responses.create(**asked, extra_body=extra)
    assert (response.output_text, response.status) == (shown, "completed")
    form = extra.get("text", {}).get("format", {"type": "text"})
    assert response.to_dict()["text"] == {"format": form}
    with client.responses.stream(**asked, extra_body=extra) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        assert ("".join(deltas), stream.get_final_response().output_text) == (shown, shown)


def test_usage_counts_what_was_read_and_the_text_that_was_chosen(client: openai.OpenAI) -> None:
    alone = client.chat.completions.create(model=ANSWERS, messages=about(QUESTION)).usage
    extra = {"guided_choice": ["a red star", "green"]}
    chosen = client.chat.completions.create(model=ANSWERS, messages=about(QUESTION), extra_body=extra).usage
    assert alone is not None
    assert chosen is not None
    assert chosen.prompt_tokens == alone.prompt_tokens + 3 + 1
    assert chosen.completion_tokens == 2


BAD: list[tuple[str, dict[str, Any], str, str]] = [
    ("no text", {"guided_choice": []}, "invalid_value", "guided_choice"),
    ("no list", {"guided_choice": "red"}, "invalid_type", "guided_choice"),
    ("a number", {"guided_choice": ["red", 5]}, "invalid_type", "guided_choice[1]"),
    ("a blank text", {"guided_choice": ["red", " "]}, "empty_input", "guided_choice[1]"),
    ("a long text", {"guided_choice": ["red", "red " * 9000]}, "input_too_long", "guided_choice[1]"),
    ("more tokens than fit", {"guided_choice": ["red", "red " * 600]}, "input_too_long", "guided_choice[1]"),
    ("a text twice", {"guided_choice": ["red", "blue", "red"]}, "duplicate_value", "guided_choice[2]"),
    ("a text in capitals", {"guided_choice": ["red", "Red"]}, "duplicate_value", "guided_choice[1]"),
    ("a value twice", {"response_format": response_format(schema("red", "RED"))}, "duplicate_value",
     "response_format.json_schema.schema.enum[1]"),
    ("true and its word", {"guided_json": schema("true", True)}, "duplicate_value", "guided_json.enum[1]"),
    ("too many texts", {"guided_choice": [f"red {i}" for i in range(1001)]}, "too_many_choices", "guided_choice"),
    ("an enum of nothing", {"guided_json": schema()}, "invalid_value", "guided_json.enum"),
    ("a value of another type", {"guided_json": schema("red", 5, type="string")}, "invalid_value",
     "guided_json.enum[1]"),
    ("a truth that is no number", {"guided_json": schema(True, type=["integer"])}, "invalid_value",
     "guided_json.enum[0]"),
    ("an object for a value", {"guided_json": schema("red", {})}, "invalid_value", "guided_json.enum[1]"),
    ("a schema that is no JSON", {"guided_json": "{"}, "invalid_value", "guided_json"),
    ("a schema nested without end", {"guided_json": "[" * 50_000}, "invalid_value", "guided_json"),
    ("half a character", {"guided_json": '{"enum": ["\\ud800"]}'}, "invalid_value", "guided_json"),
    ("no number", {"guided_json": '{"enum": [NaN]}'}, "invalid_value", "guided_json"),
    ("another schema", {"guided_json": {"type": "object", "properties": {}}}, "unsupported_parameter", "guided_json"),
    ("more than an enum", {"guided_json": schema("red", pattern="r.*")}, "unsupported_parameter", "guided_json"),
    ("an enum of a strange type", {"guided_json": schema("red", type="colour")}, "unsupported_parameter",
     "guided_json"),
    ("JSON of any shape", {"response_format": {"type": "json_object"}}, "unsupported_parameter", "response_format"),
    ("a schema of another shape", {"response_format": response_format({"type": "string"})}, "unsupported_parameter",
     "response_format"),
    ("a schema that is none", {"response_format": response_format("red")}, "unsupported_parameter", "response_format"),
    ("a grammar", {"guided_grammar": "root ::= 'a'"}, "unsupported_parameter", "guided_grammar"),
    ("a regular expression", {"structured_outputs": {"regex": "r.*"}}, "unsupported_parameter", "structured_outputs"),
    ("both of an object", {"structured_outputs": {"choice": ["a"], "json": schema("a")}}, "unsupported_parameter",
     "structured_outputs"),
    ("a choice of a wrong type", {"structured_outputs": {"choice": "red"}}, "invalid_value",
     "structured_outputs.choice"),
    ("an object of a wrong type", {"structured_outputs": ["red"]}, "invalid_type", "structured_outputs"),
    ("two sets", {"guided_choice": ["a"], "guided_json": schema("a")}, "invalid_value", "guided_json"),
    ("two sets of two interfaces", {"structured_outputs": {"choice": ["a"]},
     "response_format": response_format(schema("a"))}, "invalid_value", "response_format"),
    ("log-probabilities", {"guided_choice": ["red", "blue"], "logprobs": True}, "unsupported_parameter", "logprobs"),
]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("extra", "code", "param"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
def test_what_cannot_be_chosen_from_is_refused_by_name(
    client: openai.OpenAI, extra: dict[str, Any], code: str, param: str, stream: bool
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=ANSWERS, messages=about(QUESTION), extra_body=extra, stream=stream)
    assert (refused.value.code, refused.value.param) == (code, param)
    assert len(refused.value.message) < 600


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_no_number_is_no_value(service: Service, number: float) -> None:
    body = json.dumps({"model": ANSWERS, "messages": about(QUESTION), "guided_json": schema("red", number)})
    response = service.client.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "guided_json.enum[1]"


def test_what_is_chosen_from_is_admitted_at_what_it_costs() -> None:
    """The queue holds a choice of ten, and no text of ten times as many tokens."""
    limits = {
        "max_images": 1,
        "max_captions": 10,
        "max_pairs": 10,
        "max_zip_pairs": 1,
        "max_choices": 1,
        "max_beams": 1,
        "max_explanations": 1,
    }
    chosen = fake_settings(limits=limits | {"max_new_tokens": 10}, engine={"max_queue_cost": 60})
    texts = {"guided_choice": [f"a {i}" for i in range(10)], "max_tokens": 10**6}
    with serving(chosen, always(FakeModel("caption"))) as service, sdk(service) as client:
        answer = client.chat.completions.create(model="fake", messages=chat_messages(), extra_body=texts)
        assert answer.choices[0].message.content in texts["guided_choice"]  # type: ignore[operator]
        response = client.responses.create(model="fake", input=response_input(), extra_body={"guided_choice": ["a"]})
        assert response.output_text == "a"


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        ({"guided_choice": ["a"] * 10_001}, "too_many_choices"),
        ({"structured_outputs": {"choice": ["a"] * 10_001}}, "too_many_choices"),
        ({"guided_json": schema(*range(10_001))}, "too_many_choices"),
        ({"response_format": response_format(schema(*range(10_001)))}, "too_many_choices"),
        ({"guided_json": json.dumps(schema(*range(10_001)))}, "invalid_value"),
        ({"structured_outputs": {"json": "[" * 10_001}}, "invalid_value"),
    ],
    ids=["guided_choice", "choice", "guided_json", "response_format", "as text", "as deep text"],
)
def test_too_many_values_are_refused_before_anything_is_made_of_them(
    service: Service, extra: dict[str, Any], code: str
) -> None:
    answer = service.client.post("/v1/chat/completions", json={"model": CAPTIONS, "messages": about(""), **extra})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


def test_escaped_commas_hide_no_values(service: Service) -> None:
    """They are none to the check of the body, and commas in the text that it holds."""
    body = json.dumps({"model": CAPTIONS, "messages": about(""), "guided_json": "SCHEMA"})
    text = '{\\"enum\\":[' + "1\\u002c" * 200_000 + "1]}"
    answer = service.client.post(
        "/v1/chat/completions",
        content=body.replace("SCHEMA", text),
        headers={"content-type": "application/json"},
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_value")
