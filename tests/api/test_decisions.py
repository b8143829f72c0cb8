"""`POST /v1/decisions` through the openai client: its answers, what they are made of, and what is refused."""

import asyncio
import base64
import math
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, get_type_hints

import openai
import pytest
from openai.types import Decision, decision_create_params
from PIL import Image

from blip_serve.api.decisions import OTHERS, DecisionsBody
from blip_serve.catalogue import EMBEDDED
from blip_serve.domain import ScoringProtocol
from blip_serve.models.answerer import Answerer
from blip_serve.models.fake import IMAGE_TOKENS, FakeModel
from blip_serve.settings import DEMO_ANSWERS
from demo.drawing import Artist, draw
from demo.world import COLOURS, SIZES, World
from tests.support.checkpoints import SMALL_VQA, build
from tests.support.loading import load, load_matcher
from tests.support.pictures import encoded, picture
from tests.support.reference import AnswerReference
from tests.support.server import Service, always, fake_settings, serving, settings

RED = (EMBEDDED / "pictures" / "red-circle.png").read_bytes()
"""A large red circle."""


def url(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def user(data: bytes = RED, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "input_image", "image_url": url(data), **more}]}


def predicate(statement: Any, **more: Any) -> dict[str, Any]:
    return {"type": "predicate", "instructions": statement, **more}


def choice(instructions: Any, *values: str | bool, **more: Any) -> dict[str, Any]:
    return {"type": "choice", "instructions": instructions, "choices": [{"value": v} for v in values], **more}


def score(instructions: Any, *labels: str, **more: Any) -> dict[str, Any]:
    return {"type": "score", "instructions": instructions, "levels": [{"label": v} for v in labels], **more}


def ask(service: Service, *questions: dict[str, Any], data: bytes = RED, model: str = "", **extra: Any) -> Decision:
    """The SDK's answer about one image."""
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key="unused", max_retries=0) as client:
        return client.decisions.create(
            model=model or service.client.get("/v1/models").json()["data"][0]["id"],
            input=[user(data)],  # type: ignore[list-item]
            questions=questions,  # type: ignore[arg-type]
            extra_body=extra,
        )


def match(service: Service, *captions: str, data: bytes = RED, protocol: str = "hf") -> list[dict[str, Any]]:
    """What `/v1/match` says of the same image and captions."""
    body = {"image": url(data), "captions": captions, "protocol": protocol}
    pairs: list[dict[str, Any]] = service.client.post("/v1/match", json=body).json()["data"]
    return pairs


def shares(pairs: list[dict[str, Any]]) -> list[float]:
    """The softmax of the log-odds of a match."""
    odds = [math.exp(pair["itm_logits"][1] - pair["itm_logits"][0]) for pair in pairs]
    return [one / sum(odds) for one in odds]


def probabilities(answer: Any) -> list[float]:
    return [each.probability for each in answer.probabilities]


# What is answered


def test_a_predicate_s_probability_is_that_of_a_match(demo: Service) -> None:
    right, wrong = ask(demo, predicate("a large red circle"), predicate("a large blue circle")).answers
    pairs = match(demo, "a large red circle", "a large blue circle")
    assert right.type == wrong.type == "predicate"
    assert [right.probability, wrong.probability] == pytest.approx([pair["itm_score"] for pair in pairs], abs=1e-6)
    assert right.probability > 0.9
    assert wrong.probability < 0.1


@pytest.mark.parametrize("protocol", ["hf", "paper"])
def test_a_choice_shares_the_probability_by_the_log_odds_of_a_match(demo: Service, protocol: str) -> None:
    decision = ask(demo, choice("a {} circle", "blue", "red", "orange"), protocol=protocol)
    [answer] = decision.answers
    assert answer.type == "choice"
    expected = shares(match(demo, "a blue circle", "a red circle", "a orange circle", protocol=protocol))
    assert probabilities(answer) == pytest.approx(expected, abs=1e-6)
    assert [each.value for each in answer.probabilities] == ["blue", "red", "orange"]
    assert sum(probabilities(answer)) == pytest.approx(1, abs=1e-12)
    assert (answer.choice, answer.confidence) == ("red", max(probabilities(answer)))
    assert decision.model_extra == {"protocol": protocol}


def test_the_protocol_changes_the_numbers(demo: Service) -> None:
    question = choice("a {} circle", "blue", "red")
    [one], [other] = (ask(demo, question, protocol=protocol).answers for protocol in ("hf", "paper"))
    assert one != other


def test_a_score_is_the_expected_level(demo: Service) -> None:
    levels = [{"label": "none", "description": "a blue star"}, {"label": "small"}, {"label": "large"}]
    [answer] = ask(demo, score("{}", levels=levels) | {"instructions": "{}"}).answers
    assert answer.type == "score"
    expected = shares(match(demo, "a blue star", "small", "large"))
    assert probabilities(answer) == pytest.approx(expected, abs=1e-6)
    assert [(each.value, each.label) for each in answer.probabilities] == [(0, "none"), (1, "small"), (2, "large")]
    assert answer.score == pytest.approx(expected[1] + 2 * expected[2], abs=1e-6)
    assert answer.confidence == max(probabilities(answer))


def test_several_questions_are_answered_in_order_under_their_names(demo: Service) -> None:
    decision = ask(
        demo,
        score("a {} red circle", "small", "large", name="size"),
        predicate("a red circle", name="same"),
        choice("a {} circle", "red", "blue", name="same"),
        predicate("a blue star"),
    )
    assert [answer.type for answer in decision.answers] == ["score", "predicate", "choice", "predicate"]
    assert [answer.name for answer in decision.answers] == ["size", "same", "same", None]
    size, there, colour, absent = decision.answers
    assert size.type == "score"
    assert size.score > 0.5
    assert there.type == absent.type == "predicate"
    assert there.probability > 0.5 > absent.probability
    assert colour.type == "choice"
    assert colour.choice == "red"


def test_an_unnamed_answer_s_name_is_null(demo: Service) -> None:
    body = {"input": [user()], "questions": [predicate("a red circle")]}
    [answer] = demo.client.post("/v1/decisions", json=body).json()["answers"]
    assert set(answer) == {"type", "name", "probability"}
    assert answer["name"] is None


def test_a_description_speaks_for_its_value(demo: Service) -> None:
    described = [
        {"value": True, "description": "a red circle"},
        {"value": False, "description": "a blue star"},
        {"value": "true", "description": "two green squares"},
    ]
    [answer] = ask(demo, choice("Is it red?", choices=described)).answers
    assert answer.type == "choice"
    assert answer.choice is True
    assert [each.value for each in answer.probabilities] == [True, False, "true"]
    expected = shares(match(demo, "a red circle", "a blue star", "two green squares"))
    assert probabilities(answer) == pytest.approx(expected, abs=1e-6)


def test_a_boolean_reads_as_its_word(demo: Service) -> None:
    [answer] = ask(demo, choice("red {}", True, False, "circle")).answers
    assert answer.type == "choice"
    expected = shares(match(demo, "red true", "red false", "red circle"))
    assert probabilities(answer) == pytest.approx(expected, abs=1e-6)


def test_instructions_may_come_in_parts(demo: Service) -> None:
    parts = [{"type": "input_text", "text": "a large"}, {"type": "input_text", "text": "{} circle"}]
    [joined, whole] = ask(demo, choice(parts, "red", "blue"), choice("a large {} circle", "red", "blue")).answers
    assert joined == whole


def test_the_input_may_be_one_message(demo: Service) -> None:
    body = {"questions": [predicate("a red circle")]}
    answers = [
        demo.client.post("/v1/decisions", json=body | {"input": given}).json()["answers"]
        for given in (user(), [user() | {"type": "message"}], [{"role": "user", "content": []}, user(detail="high")])
    ]
    assert answers[0] == answers[1] == answers[2]


def test_the_async_client_is_answered_the_same(demo: Service) -> None:
    question = choice("a {} circle", "red", "blue", name="colour")

    async def run() -> Decision:
        async with openai.AsyncOpenAI(base_url=f"{demo.url}/v1", api_key="unused", max_retries=0) as client:
            return await client.decisions.create(model="demo", input=[user()], questions=[question])  # type: ignore[list-item]

    assert asyncio.run(run()).answers == ask(demo, question).answers


def test_usage_counts_the_image_once_and_every_caption(demo: Service) -> None:
    data = encoded(picture(7001))
    questions = (predicate("a red circle"), choice("a {} circle", "red", "blue"))
    usage = ask(demo, *questions, data=data).usage
    assert usage.model_dump() == {
        "input_tokens": 65 + 3 * 5,
        "input_tokens_details": {"cached_tokens": 0, "image_tokens": 65, "cache_write_tokens": 0},
        "output_tokens": 0,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 65 + 3 * 5,
    }
    assert ask(demo, *questions, data=data).usage.input_tokens_details.cached_tokens == 65


def test_every_parameter_of_the_sdk_is_known(demo: Service) -> None:
    params = set(get_type_hints(decision_create_params.DecisionCreateParams))
    assert params == (DecisionsBody.model_fields.keys() | OTHERS.keys()) - {"protocol", "service_tier"}
    harmless: dict[str, Any] = {
        "prompt_cache_key": "key",
        "prompt_cache_options": {"mode": "explicit", "ttl": "30m"},
        "safety_identifier": "someone",
    }
    assert ask(demo, predicate("a red circle"), **harmless).answers == ask(demo, predicate("a red circle")).answers


def test_server_timing_names_the_stages(demo: Service) -> None:
    response = demo.client.post("/v1/decisions", json={"input": [user()], "questions": [predicate("a circle")]})
    assert [part.partition(";")[0] for part in response.headers["server-timing"].split(", ")] == [
        "fetch", "decode", "queue", "device"
    ]  # fmt: skip


def test_four_hundred_questions_encode_the_image_once() -> None:
    matcher = load_matcher(EMBEDDED / "demo-retrieval", images={"cache_tokens_bytes": 0, "cache_vectors_bytes": 0})
    encodings: list[int] = []
    captions: list[int] = []
    with serving(fake_settings(), always(matcher)) as service:
        matcher.network.vision_model.register_forward_hook(lambda _, inputs, __: encodings.append(len(inputs[0])))
        matcher.network.text_encoder.embeddings.register_forward_hook(
            lambda _, inputs, __: captions.append(len(inputs[0]))
        )
        questions = [
            *(predicate(f"a {size} {colour} circle") for size in SIZES for colour in COLOURS),
            *(choice("a {} circle", *COLOURS) for _ in range(50)),
            *(predicate(f"{i} red circles") for i in range(334)),
        ]
        assert len(questions) == 400
        decision = ask(service, *questions)
    assert encodings == [1]
    assert sum(captions) == 16 + 8 + 334  # each caption once, though fifty questions share eight of them
    assert len(decision.answers) == 400
    colours = [answer.choice for answer in decision.answers if answer.type == "choice"]
    assert colours == ["red"] * 50


# On the embedded checkpoint's own world


def test_fresh_pictures_are_told_by_colour_and_by_size(demo: Service) -> None:
    rng = Random("decisions")
    world, artist = World(rng), Artist(rng)
    right = {"colour": 0, "size": 0}
    asked = 0
    while asked < 60:
        scene = world.scene()
        if len({thing.shape for thing in scene.things}) < len(scene.things):
            continue  # "a {} circle" would ask about two things at once
        asked += 1
        thing = scene.things[0]
        colour, size = ask(
            demo,
            choice(f"a {{}} {thing.shape}", *COLOURS),
            score(f"a {{}} {thing.colour} {thing.shape}", *SIZES),
            data=encoded(Image.fromarray(draw(artist.layout(scene), rng))),
        ).answers
        assert colour.type == "choice"
        assert size.type == "score"
        right["colour"] += colour.choice == thing.colour
        right["size"] += round(size.score) == SIZES.index(thing.size)
    print(f"right of {asked} fresh pictures: {right}")
    assert min(right.values()) >= 0.9 * asked


# Answering models


def test_an_answering_model_ranks_options_by_likelihood() -> None:
    with serving(fake_settings(), always(FakeModel("answer"))) as service:
        decision = ask(service, choice("what is it?", "dog", "cat", name="what"), score("how many?", "one", "two"))
        again = ask(service, choice("what is it?", "cat", "dog"))
    what, many = decision.answers
    assert what.type == "choice"
    assert many.type == "score"
    assert what.name == "what"
    assert (what.choice, what.confidence) == max(
        ((each.value, each.probability) for each in what.probabilities), key=lambda pair: pair[1]
    )
    assert sum(probabilities(what)) == pytest.approx(1, abs=1e-12)
    assert many.score == pytest.approx(probabilities(many)[1])
    assert again.answers[0].type == "choice"
    assert probabilities(again.answers[0]) == pytest.approx(probabilities(what)[::-1])
    assert decision.usage.input_tokens == IMAGE_TOKENS + (3 + 2) + (2 + 2)


@pytest.fixture(scope="module")
def vqa() -> Iterator[Service]:
    """The embedded checkpoint that answers questions."""
    with serving(settings(models=(DEMO_ANSWERS.model_copy(update={"preload": True}),))) as service:
        yield service


@pytest.mark.parametrize("protocol", ["hf", "paper"])
def test_a_predicate_of_an_answering_model_is_yes_in_place_of_no(vqa: Service, protocol: ScoringProtocol) -> None:
    reference = AnswerReference(EMBEDDED / "demo-vqa")
    questions = ["is there a red circle?", "Is there a BLUE circle (or two)?", "is the circle large?"]
    decision = ask(vqa, *map(predicate, questions), choice("what colour is it?", "red", "blue"), protocol=protocol)
    *found, colour = decision.answers
    wanted = [reference.yes(RED, question, protocol) for question in questions]
    assert [answer.probability for answer in found if answer.type == "predicate"] == pytest.approx(wanted, abs=1e-5)
    assert wanted[0] > 0.9
    assert wanted[1] < 0.1
    assert colour.type == "choice"
    assert colour.choice == "red"
    assert decision.model_extra == {"protocol": protocol}


def test_the_image_is_encoded_once_for_all_predicates() -> None:
    answerer = load(Answerer, EMBEDDED / "demo-vqa", images={"cache_tokens_bytes": 0, "cache_vectors_bytes": 0})
    encodings: list[int] = []
    with serving(fake_settings(), always(answerer)) as service:
        answerer.network.vision_model.register_forward_hook(lambda _, inputs, __: encodings.append(len(inputs[0])))
        decision = ask(service, *(predicate(f"is there a {colour} {i}?") for i in range(50) for colour in COLOURS))
    assert len(decision.answers) == 50 * len(COLOURS)
    assert encodings == [1]


@pytest.mark.parametrize("protocol", ["hf", "paper"])
@pytest.mark.parametrize(
    ("question", "param"),
    [
        (choice("what colour is it?", "red", "Red"), "choices[1].value"),
        (choice("what colour is it?", "blue", "a red circle", "A  RED CIRCLE"), "choices[2].value"),
        (choice("is it?", True, "true"), "choices[1].value"),
        (score("how large is it?", "small", "large", "LARGE"), "levels[2].label"),
        (choice("what is it?", "☃", "☂"), "choices[1].value"),
    ],
)
def test_options_that_an_answering_model_reads_alike_are_refused(
    vqa: Service, question: dict[str, Any], param: str, protocol: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(vqa, predicate("is it red?"), question, protocol=protocol)
    assert (refused.value.code, refused.value.param) == ("duplicate_value", f"questions[1].{param}")


def test_captions_that_the_clean_up_makes_alike_are_refused(demo: Service) -> None:
    question = choice("a {} circle", "red", "red!")
    assert ask(demo, question).answers
    with pytest.raises(openai.BadRequestError) as refused:
        ask(demo, question, protocol="paper")
    assert (refused.value.code, refused.value.param) == ("duplicate_value", "questions[0].choices[1].value")


def test_a_model_without_a_word_for_yes_takes_no_predicate(tmp_path: Path) -> None:
    answerer = load(Answerer, build(tmp_path, SMALL_VQA, kind="answering"))
    with serving(fake_settings(), always(answerer)) as service:
        with pytest.raises(openai.BadRequestError) as refused:
            ask(service, choice("what is it?", "dog", "cat"), predicate("is it a dog?"))
        assert (refused.value.code, refused.value.param) == ("task_not_supported", "questions[1].type")
        assert ask(service, choice("what is it?", "dog", "cat")).answers


def test_a_captioning_model_decides_nothing() -> None:
    with serving(fake_settings(), always(FakeModel("caption"))) as service:
        with pytest.raises(openai.BadRequestError) as refused:
            ask(service, predicate("a dog"))
        assert (refused.value.code, refused.value.param) == ("task_not_supported", "model")


# What is refused

PART = {"type": "input_image", "image_url": url(RED)}
TEXT = {"type": "input_text", "text": "a circle"}
CALL = {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}
FIRST = "input[0].content"

BAD_INPUTS: list[tuple[str, Any, str, str | None]] = [
    ("a string", "a red circle", "unsupported_content", "input"),
    ("null", None, "invalid_type", "input"),
    ("a number", 5, "invalid_type", "input"),
    ("no message", [], "missing_required_parameter", "input"),
    ("no image", [{"role": "user", "content": []}], "missing_required_parameter", "input"),
    ("a message that is none", [5], "invalid_type", "input[0]"),
    ("text for a content", [{"role": "user", "content": "a circle"}], "unsupported_content", FIRST),
    ("text beside the image", [{"role": "user", "content": [PART, TEXT]}], "unsupported_content", f"{FIRST}[1].text"),
    ("text in a second message", [user(), {"role": "user", "content": [TEXT]}], "unsupported_content",
     "input[1].content[0].text"),
    ("text in the one message", {"role": "user", "content": [TEXT, PART]}, "unsupported_content",
     "input.content[0].text"),
    ("JSON beside the image", [{"role": "user", "content": [PART, {"type": "input_json", "data": {}}]}],
     "unsupported_content", f"{FIRST}[1]"),
    ("an audio part", [{"role": "user", "content": [{"type": "input_audio"}]}], "unsupported_content", f"{FIRST}[0]"),
    ("a file", [{"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}], "unsupported_content",
     f"{FIRST}[0].file_id"),
    ("two images", [{"role": "user", "content": [PART, PART]}], "too_many_images", f"{FIRST}[1].image_url"),
    ("two messages with images", [user(), user()], "too_many_images", "input[1].content[0].image_url"),
    ("a thousand parts", [{"role": "user", "content": [PART] * 1000}], "too_many_parts", FIRST),
    ("twenty thousand messages", [{"role": "user", "content": []}] * 20_000, "too_many_messages", "input"),
    ("a system message", [{"role": "system", "content": "Be strict."}, user()], "unsupported_content", "input[0]"),
    ("a developer message", [user(), {"role": "developer", "content": "Be strict."}], "unsupported_content",
     "input[1]"),
    ("an assistant message", [user(), {"role": "assistant", "content": "No.", "phase": "commentary"}],
     "unsupported_content", "input[1]"),
    ("a tool message", [user(), {"role": "tool", "content": "5"}], "unsupported_content", "input[1]"),
    ("a function call", [CALL, user()], "unsupported_content", "input[0]"),
    ("a function's output", [user(), {"type": "function_call_output", "call_id": "1", "output": "5"}],
     "unsupported_content", "input[1]"),
    ("a custom tool's call", [{"type": "custom_tool_call"}, user()], "unsupported_content", "input[0]"),
    ("an unknown role", [user() | {"role": "wizard"}], "invalid_value", "input[0].role"),
    ("no role", [{"content": [PART]}], "missing_required_parameter", "input[0].role"),
    ("no content", [{"role": "user"}], "missing_required_parameter", FIRST),
    ("a content of a wrong type", [{"role": "user", "content": 5}], "invalid_type", FIRST),
    ("an unknown key of a message", [user() | {"mood": "good"}], "unknown_parameter", "input[0].mood"),
    ("an unknown key of a part", [user(mood="good")], "unknown_parameter", f"{FIRST}[0].mood"),
    ("no picture", [user(b"hello")], "unsupported_image_format", f"{FIRST}[0].image_url"),
    ("a private URL", [user() | {"content": [PART | {"image_url": "http://169.254.169.254/"}]}], "blocked_url",
     f"{FIRST}[0].image_url"),
]  # fmt: skip

BAD_QUESTIONS: list[tuple[str, Any, str, str | None]] = [
    ("no question", [], "invalid_value", "questions"),
    ("401 questions", [predicate("a")] * 401, "too_many_questions", "questions"),
    ("ninety thousand questions", [0] * 90_000, "too_many_questions", "questions"),
    ("questions of a wrong type", {"0": predicate("a")}, "invalid_type", "questions"),
    ("a question that is none", [predicate("a"), "a"], "invalid_type", "questions[1]"),
    ("no type", [{"instructions": "a"}], "missing_required_parameter", "questions[0].type"),
    ("an unknown type", [predicate("a"), predicate("a") | {"type": "essay"}], "invalid_value", "questions[1].type"),
    ("a type of a wrong type", [predicate("a") | {"type": ["choice"]}], "invalid_value", "questions[0].type"),
    ("no instructions", [{"type": "predicate"}], "missing_required_parameter", "questions[0].instructions"),
    ("instructions of a wrong type", [predicate(5)], "invalid_type", "questions[0].instructions"),
    ("blank statement", [predicate(" \n")], "empty_input", "questions[0].instructions"),
    ("blank instructions", [choice("", "a", "b")], "empty_input", "questions[0].instructions"),
    ("no part", [predicate([])], "empty_input", "questions[0].instructions"),
    ("long statement", [predicate("red " * 100)], "input_too_long", "questions[0].instructions"),
    ("statement of a megabyte", [predicate("a" * 1_000_000)], "input_too_long", "questions[0].instructions"),
    ("statement of a thousand parts", [predicate([TEXT] * 1000)], "too_many_parts", "questions[0].instructions"),
    ("image in a question", [predicate([PART])], "unsupported_content", "questions[0].instructions[0].image_url"),
    ("JSON in a question", [predicate([TEXT, {"type": "input_json", "data": {}}])], "unsupported_content",
     "questions[0].instructions[1]"),
    ("a part's text missing", [predicate([{"type": "input_text"}])], "invalid_type",
     "questions[0].instructions[0].text"),
    ("a name of a wrong type", [predicate("a", name=5)], "invalid_type", "questions[0].name"),
    ("an unknown key", [predicate("a", weight=1)], "unknown_parameter", "questions[0].weight"),
    ("a predicate's choices", [predicate("a", choices=[])], "unknown_parameter", "questions[0].choices"),
    ("no choices", [{"type": "choice", "instructions": "a"}], "missing_required_parameter", "questions[0].choices"),
    ("one choice", [choice("a {}", "a")], "invalid_value", "questions[0].choices"),
    ("256 choices", [predicate("a"), choice("a {}", *map(str, range(256)))], "too_many_choices",
     "questions[1].choices"),
    ("choices of a wrong type", [choice("a") | {"choices": "ab"}], "invalid_type", "questions[0].choices"),
    ("a choice that is none", [choice("a", choices=["a", "b"])], "invalid_type", "questions[0].choices[0]"),
    ("a choice without a value", [choice("a", choices=[{"value": "a"}, {"description": "b"}])],
     "missing_required_parameter", "questions[0].choices[1].value"),
    ("a number for a value", [choice("a", choices=[{"value": 1}, {"value": 2}])], "invalid_type",
     "questions[0].choices[0].value"),
    ("null for a value", [choice("a", choices=[{"value": True}, {"value": None}])], "invalid_type",
     "questions[0].choices[1].value"),
    ("an unknown key of a choice", [choice("a", choices=[{"value": "a"}, {"value": "b", "weight": 2}])],
     "unknown_parameter", "questions[0].choices[1].weight"),
    ("a choice twice", [predicate("a"), predicate("a"), choice("a", "a", "b", "a")], "duplicate_value",
     "questions[2].choices[2].value"),
    ("a boolean twice", [choice("a", True, "true", True)], "duplicate_value", "questions[0].choices[2].value"),
    ("a blank value", [choice("a {}", "a", " ")], "empty_input", "questions[0].choices[1].value"),
    ("a blank description", [choice("a", choices=[{"value": "a", "description": ""}, {"value": "b"}])],
     "empty_input", "questions[0].choices[0].description"),
    ("a long description", [choice("a", choices=[{"value": "a"}, {"value": "b", "description": "red " * 100}])],
     "input_too_long", "questions[0].choices[1].description"),
    ("a long caption", [choice("a {}" * 2000, "r", "blue circle")], "input_too_long",
     "questions[0].choices[1].value"),
    ("no levels", [{"type": "score", "instructions": "a"}], "missing_required_parameter", "questions[0].levels"),
    ("one level", [score("a", "a")], "invalid_value", "questions[0].levels"),
    ("eleven levels", [score("a", *map(str, range(11)))], "too_many_levels", "questions[0].levels"),
    ("a level without a label", [score("a", levels=[{"label": "a"}, {}])], "missing_required_parameter",
     "questions[0].levels[1].label"),
    ("a boolean for a label", [score("a", levels=[{"label": True}, {"label": "b"}])], "invalid_type",
     "questions[0].levels[0].label"),
    ("a level twice", [score("a", "low", "high", "low")], "duplicate_value", "questions[0].levels[2].label"),
    ("a level's value", [score("a", levels=[{"label": "a", "value": 1}, {"label": "b"}])], "unknown_parameter",
     "questions[0].levels[0].value"),
    ("a choice in capitals", [choice("a {} circle", "red", "blue", "Red")], "duplicate_value",
     "questions[0].choices[2].value"),
    ("a level in capitals", [predicate("a"), score("a {} circle", "red", "RED")], "duplicate_value",
     "questions[1].levels[1].label"),
    ("a boolean and its word", [choice("red {}", True, "true")], "duplicate_value", "questions[0].choices[1].value"),
    ("a description like a value", [choice("a", choices=[{"value": "red"}, {"value": "x", "description": " RED "}])],
     "duplicate_value", "questions[0].choices[1].description"),
    ("signs that it does not know", [choice("{}", "☃", "☂")], "duplicate_value",
     "questions[0].choices[1].value"),
    ("more captions than the limit, unread", [choice("a {}", choices=[0] * 255)] * 350, "too_many_captions",
     "questions"),
]  # fmt: skip

BAD_BODIES: list[tuple[str, dict[str, Any], int, str, str | None]] = [
    ("no input", {"input": ...}, 400, "missing_required_parameter", "input"),
    ("no questions", {"questions": ...}, 400, "missing_required_parameter", "questions"),
    ("unknown model", {"model": "nobody/nothing"}, 404, "model_not_found", "model"),
    ("captioning model", {"model": "blip-image-captioning-base"}, 400, "task_not_supported", "model"),
    ("model of a wrong type", {"model": 5}, 400, "invalid_type", "model"),
    ("unknown protocol", {"protocol": "mine"}, 400, "invalid_value", "protocol"),
    ("unknown field", {"temperature": 0.5}, 400, "unknown_parameter", "temperature"),
    ("clean-up empties a caption", {"protocol": "paper", "questions": [predicate("...")]}, 400, "empty_input",
     "questions[0].instructions"),
]  # fmt: skip


@pytest.fixture(scope="module")
def catalogue() -> Iterator[Service]:
    """The embedded checkpoint beside the catalogue's others, of which none is ever loaded."""
    with serving(settings(catalogue=True)) as service:
        yield service


def check(service: Service, body: dict[str, Any], status: int, code: str, param: str | None) -> None:
    response = service.client.post("/v1/decisions", json=body)
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param), error
    assert error["message"]
    assert len(error["message"]) < 500
    assert not any(word in error["message"] for word in ("Traceback", "PIL", "/site-packages", "Errno", "pydantic"))
    good = {"input": [user()], "questions": [predicate("a red circle")]}
    assert service.client.post("/v1/decisions", json=good).status_code == 200


@pytest.mark.parametrize(
    ("given", "code", "param"), [bad[1:] for bad in BAD_INPUTS], ids=[bad[0] for bad in BAD_INPUTS]
)
def test_an_input_that_cannot_be_read_is_refused(demo: Service, given: Any, code: str, param: str | None) -> None:
    check(demo, {"input": given, "questions": [predicate("a red circle")]}, 400, code, param)


@pytest.mark.parametrize(
    ("questions", "code", "param"), [bad[1:] for bad in BAD_QUESTIONS], ids=[bad[0] for bad in BAD_QUESTIONS]
)
def test_a_question_that_cannot_be_asked_is_refused(
    demo: Service, questions: Any, code: str, param: str | None
) -> None:
    check(demo, {"input": [user()], "questions": questions}, 400, code, param)


@pytest.mark.parametrize(
    ("change", "status", "code", "param"), [bad[1:] for bad in BAD_BODIES], ids=[bad[0] for bad in BAD_BODIES]
)
def test_a_bad_body_is_refused_by_name(
    catalogue: Service, change: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    body = {"input": [user()], "questions": [predicate("a red circle")]} | change
    check(catalogue, {name: value for name, value in body.items() if value is not ...}, status, code, param)


@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"1" + b"0" * 5000, b'"\\ud800"', b"[" * 100_000])
def test_what_is_no_json_value_is_refused(demo: Service, value: bytes) -> None:
    body = b'{"input": [], "questions": [{"type": "predicate", "instructions": ' + value + b"}]}"
    response = demo.client.post("/v1/decisions", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert response.json()["error"]["code"] in ("invalid_json", "missing_required_parameter")


def test_control_characters_and_emoji_are_read(demo: Service) -> None:
    question = choice("a {} circle \u202e\x07", "red \x00", "😀")
    assert ask(demo, question).answers[0].type == "choice"
