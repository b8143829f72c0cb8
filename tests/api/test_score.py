"""`POST /v1/score`, as vLLM's clients post it."""

import base64
import json
from typing import Any

import openai
import pytest

from blip_serve.catalogue import EMBEDDED
from blip_serve.models.fake import FakeModel
from tests.support.errors import check
from tests.support.pictures import encoded, picture
from tests.support.server import Service, always, fake_settings, serving

PICTURES = EMBEDDED / "pictures"
TEXTS = ["a large red circle", "a large blue circle", "a pink star"]
TOLERANCE = 1e-5


def data_uri(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


RED = data_uri((PICTURES / "red-circle.png").read_bytes())
STAR = data_uri((PICTURES / "pink-star.png").read_bytes())
NOISE = data_uri(encoded(picture(5)))


def part(image: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": image}}


def post(service: Service, **body: Any) -> dict[str, Any]:
    response = service.client.post("/v1/score", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def scores(service: Service, **body: Any) -> list[float]:
    data = post(service, **body)["data"]
    assert [entry["index"] for entry in data] == list(range(len(data)))
    return [entry["score"] for entry in data]


def matched(service: Service, images: list[str], captions: list[str], **body: Any) -> list[dict[str, Any]]:
    """`/v1/match`'s answers, first with first."""
    body = {"images": images, "captions": captions, "pairing": "zip"} | body
    found: list[dict[str, Any]] = service.client.post("/v1/match", json=body).json()["data"]
    return found


def test_the_answer_has_the_documented_shape(demo: Service) -> None:
    answer = post(demo, model="demo", queries=RED, items=TEXTS[:2])
    assert set(answer) == {"id", "object", "created", "model", "protocol", "data", "usage"}
    assert answer["id"].startswith("score-")
    assert (answer["object"], answer["model"], answer["protocol"]) == ("list", "blip-serve/demo-retrieval", "hf")
    assert [set(entry) for entry in answer["data"]] == [{"index", "object", "score"}] * 2
    assert [entry["object"] for entry in answer["data"]] == ["score", "score"]
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] == 65 + 6 + 6


@pytest.mark.parametrize("protocol", ["hf", "paper"])
@pytest.mark.parametrize("rank_by", ["itm", "cosine", "paper"])
def test_one_image_is_scored_with_every_text(demo: Service, rank_by: str, protocol: str) -> None:
    found = scores(demo, queries=RED, items=TEXTS, rank_by=rank_by, protocol=protocol)
    matches = matched(demo, [RED] * 3, TEXTS, protocol=protocol)
    expected = {
        "itm": [match["itm_score"] for match in matches],
        "cosine": [match["cosine_score"] for match in matches],
        "paper": [match["itm_logits"][1] + match["cosine_score"] for match in matches],
    }
    assert found == pytest.approx(expected[rank_by], abs=TOLERANCE)


def test_one_text_is_scored_with_every_image_in_order(demo: Service) -> None:
    found = scores(demo, queries=TEXTS[2], items=[{"url": RED}, STAR, {"image": NOISE}, STAR])
    expected = [match["itm_score"] for match in matched(demo, [RED, STAR, NOISE, STAR], [TEXTS[2]] * 4)]
    assert found == pytest.approx(expected, abs=TOLERANCE)
    assert found[1] == pytest.approx(max(found), abs=TOLERANCE)


def test_as_many_are_scored_first_with_first_whichever_side_the_images_are_on(demo: Service) -> None:
    expected = [match["itm_score"] for match in matched(demo, [RED, STAR, NOISE], TEXTS)]
    assert scores(demo, queries=[RED, STAR, NOISE], items=TEXTS) == pytest.approx(expected, abs=TOLERANCE)
    assert scores(demo, queries=TEXTS, items=[RED, STAR, NOISE]) == pytest.approx(expected, abs=TOLERANCE)
    mixed = scores(demo, queries=[RED, TEXTS[1], NOISE], items=[TEXTS[0], STAR, TEXTS[2]])
    assert mixed == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize(
    ("first", "second"), [("queries", "items"), ("queries", "documents"), ("text_1", "text_2"), ("data_1", "data_2")]
)
def test_every_pair_of_names_is_read(demo: Service, first: str, second: str) -> None:
    expected = scores(demo, queries=RED, items=TEXTS)
    assert scores(demo, **{first: [RED], second: TEXTS}) == pytest.approx(expected, abs=TOLERANCE)
    names = {"queries", "items", "documents", "text_1", "text_2", "data_1", "data_2"} - {first, second}
    assert scores(demo, **{first: RED, second: TEXTS}, **dict.fromkeys(names)) == pytest.approx(expected, abs=TOLERANCE)


def test_vllm_s_content_is_read_whole_and_in_a_list(demo: Service) -> None:
    expected = scores(demo, queries=TEXTS[2], items=[RED, STAR])
    whole = scores(demo, data_1=TEXTS[2], data_2={"content": [part(RED), part(STAR)]})
    listed = scores(demo, data_1=TEXTS[2], data_2=[{"content": [part(RED)]}, {"content": [part(STAR)]}])
    assert whole == pytest.approx(expected, abs=TOLERANCE)
    assert listed == pytest.approx(expected, abs=TOLERANCE)


def test_the_openai_client_reaches_it_through_post(demo: Service) -> None:
    with openai.OpenAI(base_url=f"{demo.url}/v1", api_key="unused", max_retries=0) as client:
        answer: Any = client.post("/score", body={"queries": RED, "items": TEXTS}, cast_to=object)
        assert [entry["score"] > 0.5 for entry in answer["data"]] == [True, False, False]
        with pytest.raises(openai.BadRequestError) as refused:
            client.post("/score", body={"queries": RED, "items": [RED]}, cast_to=object)
    assert (refused.value.param, refused.value.code) == ("items[0]", "unsupported_input")


def test_an_image_with_many_texts_is_one_item() -> None:
    model = FakeModel()
    with serving(fake_settings(), always(model)) as service:
        steps = len(model.steps)
        assert len(scores(service, queries=RED, items=[f"text {i}" for i in range(60)])) == 60
        assert len([work for step in model.steps[steps:] for work in step]) == 2  # an encoding, and the scores


def good() -> dict[str, Any]:
    return {"queries": RED, "items": TEXTS}


BAD: list[tuple[str, dict[str, Any], int, str, str | None]] = [
    ("nothing", {}, 400, "missing_required_parameter", "queries"),
    ("no items", {"queries": RED}, 400, "missing_required_parameter", "items"),
    ("no queries", {"documents": TEXTS}, 400, "missing_required_parameter", "queries"),
    ("no text_2", {"text_1": RED}, 400, "missing_required_parameter", "text_2"),
    ("no data_1", {"data_2": TEXTS}, 400, "missing_required_parameter", "data_1"),
    ("names of two pairs", {"queries": RED, "text_2": TEXTS}, 400, "missing_required_parameter", "items"),
    ("a third name", good() | {"documents": TEXTS}, 400, "invalid_value", "documents"),
    ("two pairs", good() | {"text_1": RED, "text_2": TEXTS}, 400, "invalid_value", "text_1"),
    ("null", {"queries": None, "items": None}, 400, "missing_required_parameter", "queries"),
    ("empty queries", {"queries": [], "items": TEXTS}, 400, "invalid_value", "queries"),
    ("empty items", {"queries": RED, "items": []}, 400, "invalid_value", "items"),
    ("two with three", {"queries": [RED, STAR], "items": TEXTS}, 400, "invalid_value", "items"),
    ("three with one", {"text_1": TEXTS, "text_2": RED}, 400, "invalid_value", "text_2"),
    ("text and text", {"queries": "a", "items": TEXTS}, 400, "unsupported_input", "items[0]"),
    ("image and image", {"data_1": RED, "data_2": {"url": STAR}}, 400, "unsupported_input", "data_2.url"),
    ("an odd item", {"queries": RED, "items": ["a", STAR]}, 400, "unsupported_input", "items[1]"),
    ("an odd pair", {"queries": [RED, STAR], "items": ["a", RED]}, 400, "unsupported_input", "items[1]"),
    ("two in a content", {"queries": "a", "items": [{"content": [part(RED)] * 2}]}, 400, "unsupported_content",
     "items[0].content"),
    ("a number", {"queries": RED, "items": 5}, 400, "invalid_type", "items"),
    ("a number in a list", {"queries": RED, "items": ["a", 5]}, 400, "invalid_type", "items[1]"),
    ("blank", {"queries": RED, "items": ["a", " "]}, 400, "empty_input", "items[1]"),
    ("over-long", {"queries": RED, "items": ["a", "red " * 100]}, 400, "input_too_long", "items[1]"),
    ("no picture", {"queries": {"image": "aGVsbG8="}, "items": "a"}, 400, "unsupported_image_format", "queries.image"),
    ("65 images", {"queries": "a", "items": [{"image": "aGVsbG8="}] * 65}, 400, "too_many_images", "items"),
    ("1001 pairs", {"queries": [{"image": "A"}] * 1001, "items": ["a"] * 1001}, 400, "too_many_images", "queries"),
    ("1001 texts", {"text_1": RED, "text_2": ["a"] * 1001}, 400, "too_many_captions", "text_2"),
    ("a flood", {"text_1": RED, "text_2": ["a"] * 20_000}, 400, "too_many_captions", "text_2"),
    ("unknown rank_by", good() | {"rank_by": "size"}, 400, "invalid_value", "rank_by"),
    ("unknown protocol", good() | {"protocol": "mine"}, 400, "invalid_value", "protocol"),
    ("cut texts", good() | {"truncate_prompt_tokens": 3}, 400, "unsupported_parameter", "truncate_prompt_tokens"),
    ("unknown field", good() | {"colour": "red"}, 400, "unknown_parameter", "colour"),
    ("unknown model", good() | {"model": "nobody/nothing"}, 404, "model_not_found", "model"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "code", "param"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
def test_bad_input_is_refused_by_name(
    demo: Service, body: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    check(demo.client.post("/v1/score", json=body), status, code, param)
    assert demo.client.post("/v1/score", json=good()).status_code == 200


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_none_are_refused(demo: Service, number: str) -> None:
    content = json.dumps(good() | {"items": ["@"]}).replace('"@"', number)
    response = demo.client.post("/v1/score", content=content, headers={"content-type": "application/json"})
    check(response, 400, "invalid_type", "items[0]")


def test_a_model_without_the_task_is_refused_before_any_work() -> None:
    model = FakeModel("caption")
    with serving(fake_settings(), always(model)) as service:
        steps = len(model.steps)
        check(service.client.post("/v1/score", json=good()), 400, "task_not_supported", "model")
        assert len(model.steps) == steps
