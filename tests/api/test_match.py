"""`POST /v1/match` on the embedded checkpoint, over HTTP."""

import base64
import json
import threading
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from blip_serve.catalogue import EMBEDDED
from blip_serve.models.fake import FakeModel
from blip_serve.settings import ModelSettings
from tests.support.errors import check
from tests.support.pictures import encoded, picture
from tests.support.server import Service, always, fake_settings, in_threads, serving, settings
from tests.support.waiting import wait_until

PICTURES = EMBEDDED / "pictures"
CAPTIONS: dict[str, dict[str, str]] = json.loads((PICTURES / "pictures.json").read_text())
RED = (PICTURES / "red-circle.png").read_bytes()
SCORES = ("itm_score", "cosine_score")


def as_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def post(service: Service, **body: Any) -> dict[str, Any]:
    response = service.client.post("/v1/match", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


@pytest.mark.parametrize("protocol", ["hf", "paper"])
@pytest.mark.parametrize("name", CAPTIONS)
def test_shipped_pictures_are_told_from_a_swapped_colour(demo: Service, name: str, protocol: str) -> None:
    caption, wrong = CAPTIONS[name]["caption"], CAPTIONS[name]["wrong"]
    image = as_base64((PICTURES / name).read_bytes())
    answer = post(demo, image=image, captions=[caption, wrong], protocol=protocol)
    assert answer["protocol"] == protocol
    assert answer["data"][0]["itm_score"] > 0.9
    assert answer["data"][1]["itm_score"] < 0.1
    assert answer["data"][0]["cosine_score"] > answer["data"][1]["cosine_score"]


def test_the_answer_has_the_documented_shape(demo: Service) -> None:
    answer = post(demo, model="demo", image=as_base64(RED), caption="a large red circle")
    [match] = answer["data"]
    assert set(match) == {
        "object", "index", "image_index", "caption_index", "itm_score", "itm_logits", "cosine_score"
    }  # fmt: skip
    assert answer["id"].startswith("match-")
    assert (answer["object"], match["object"]) == ("list", "match")
    assert answer["model"] == "blip-serve/demo-retrieval"
    assert len(match["itm_logits"]) == 2
    assert 0 <= match["itm_score"] <= 1
    assert -1 <= match["cosine_score"] <= 1
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] == 65 + 6
    assert answer["usage"]["prompt_tokens_details"]["image_tokens"] == 65


@pytest.mark.parametrize(
    "image",
    [
        as_base64(RED),
        f"data:image/png;base64,{as_base64(RED)}",
        {"url": f"data:image/png;base64,{as_base64(RED)}"},
        {"image": as_base64(RED)},
    ],
    ids=["base64", "data URI", "url object", "image object"],
)
def test_every_form_of_an_image_scores_the_same(demo: Service, image: object) -> None:
    [expected] = post(demo, image=as_base64(RED), caption="a red circle")["data"]
    [found] = post(demo, images=[image], caption="a red circle")["data"]
    assert [found[name] for name in SCORES] == pytest.approx([expected[name] for name in SCORES], abs=1e-6)


def test_an_upload_scores_the_same(demo: Service) -> None:
    expected = post(demo, image=as_base64(RED), captions=["a red circle", "a star"], protocol="paper")["data"]
    response = demo.client.post(
        "/v1/match",
        files=[("image", ("red.png", RED))],
        data={"caption": ["a red circle", "a star"], "protocol": "paper", "model": "demo"},
    )
    assert response.json()["data"] == expected


def test_a_form_takes_the_plural_names_too(demo: Service) -> None:
    files = [("images", ("red.png", RED)), ("images", ("blue.png", RED))]
    response = demo.client.post("/v1/match", files=files, data={"captions": ["a red circle", "a star"]})
    assert len(response.json()["data"]) == 4


@pytest.mark.parametrize("listed", ['["a red circle", "a star"]', ' ["a red circle",\n"a star"] '])
def test_captions_of_a_form_may_be_one_list(demo: Service, listed: str) -> None:
    repeated = {"captions": ["a red circle", "a star"]}
    answers = [
        demo.client.post("/v1/match", files=[("image", ("red.png", RED))], data=data).json()["data"]
        for data in (repeated, {"captions": listed})
    ]
    assert answers[1] == answers[0]


@pytest.mark.parametrize("listed", ["[a red circle, a star]", '["a", 1]', '["a"', "['a', 'b']", "[" * 5000])
def test_what_begins_like_a_list_and_is_none_is_refused_saying_how(demo: Service, listed: str) -> None:
    response = demo.client.post("/v1/match", files=[("image", ("red.png", RED))], data={"captions": listed})
    check(response, 400, "invalid_value", "captions")
    assert "JSON list" in response.json()["error"]["message"]


def test_a_caption_may_begin_with_a_bracket(demo: Service) -> None:
    for data in ({"caption": "[a star]"}, {"captions": ["[a star]", "a"]}):
        assert demo.client.post("/v1/match", files=[("image", ("red.png", RED))], data=data).is_success


def test_an_image_given_twice_counts_once(demo: Service) -> None:
    image = as_base64(encoded(picture(4321)))
    usage = post(demo, images=[image, image], caption="a red circle")["usage"]
    assert usage["prompt_tokens_details"] == {
        "image_tokens": 65,
        "cached_tokens": usage["prompt_tokens_details"]["cached_tokens"],
    }
    assert usage["prompt_tokens"] == 65 + 5


def test_a_model_outside_the_catalogue_shows_its_card_once_loaded() -> None:
    own = ModelSettings(id="mine/own", source=str(EMBEDDED / "demo-retrieval"))
    with serving(settings(models=(own,))) as service:
        assert service.client.get("/v1/models/own").json()["tasks"] is None
        assert post(service, image=as_base64(RED), caption="a red circle")["model"] == "mine/own"
        card = service.client.get("/v1/models/mine/own").json()
    assert (card["id"], card["tasks"], card["parameters"]) == ("mine/own", ["match", "embed", "explain"], 1518466)
    assert card["inputs"]["image_tokens"] == 65


def test_cross_scores_every_pair_in_order(demo: Service) -> None:
    images = [as_base64(encoded(picture(seed))) for seed in range(2)]
    captions = ["a red circle and a small blue star", "a star", "two green squares"]
    answer = post(demo, images=images, captions=captions)
    places = [(match["index"], match["image_index"], match["caption_index"]) for match in answer["data"]]
    assert places == [(0, 0, 0), (1, 0, 1), (2, 0, 2), (3, 1, 0), (4, 1, 1), (5, 1, 2)]
    for match in answer["data"]:
        [alone] = post(demo, image=images[match["image_index"]], caption=captions[match["caption_index"]])["data"]
        assert [match[name] for name in SCORES] == pytest.approx([alone[name] for name in SCORES], abs=1e-5)


def test_zip_scores_first_with_first(demo: Service) -> None:
    images = [as_base64(encoded(picture(seed))) for seed in range(3)]
    captions = ["a red circle", "a star", "two green squares"]
    answer = post(demo, images=images, captions=captions, pairing="zip")
    assert [(match["image_index"], match["caption_index"]) for match in answer["data"]] == [(0, 0), (1, 1), (2, 2)]
    crossed = post(demo, images=images, captions=captions)["data"]
    for match, i in zip(answer["data"], (0, 4, 8), strict=True):
        assert match["itm_score"] == pytest.approx(crossed[i]["itm_score"], abs=1e-5)


@pytest.mark.parametrize(("asked", "absent"), [("itm", {"cosine_score"}), ("cosine", {"itm_score", "itm_logits"})])
def test_one_score_can_be_asked_for_alone(demo: Service, asked: str, absent: set[str]) -> None:
    both = post(demo, image=as_base64(RED), caption="a red circle")["data"][0]
    alone = post(demo, image=as_base64(RED), caption="a red circle", scores=[asked])["data"][0]
    assert both.keys() - alone.keys() == absent
    assert all(alone[name] == pytest.approx(both[name], abs=1e-5) for name in alone)


def test_a_known_image_is_neither_decoded_nor_encoded(demo: Service) -> None:
    image = as_base64(encoded(picture(1234)))
    first = post(demo, image=image, caption="a red circle")
    before = (demo.metric("image_decode_seconds_count"), demo.metric("device_seconds_count", phase="encode"))
    again = post(demo, image=image, captions=["a red circle", "a blue star"], protocol="paper")
    assert (demo.metric("image_decode_seconds_count"), demo.metric("device_seconds_count", phase="encode")) == before
    assert first["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] == 65


def test_the_openai_client_reaches_it_through_post(demo: Service) -> None:
    client = openai.OpenAI(base_url=f"{demo.url}/v1", api_key="unused")
    answer = client.post("/match", body={"image": as_base64(RED), "caption": "a red circle"}, cast_to=object)
    assert isinstance(answer, dict)
    assert answer["object"] == "list"
    with pytest.raises(openai.BadRequestError) as refused:
        client.post("/match", body={"image": as_base64(RED)}, cast_to=object)
    assert (refused.value.param, refused.value.code) == ("caption", "missing_required_parameter")
    client.close()


def test_two_hundred_requests_at_once_score_as_one_by_one_and_share_steps(demo: Service) -> None:
    bodies = [
        {"image": as_base64(encoded(picture(i % 40))), "captions": ["a red circle", f"a star and {i} squares"]}
        for i in range(200)
    ]
    with httpx.Client(base_url=demo.url, timeout=60, trust_env=False, limits=httpx.Limits(max_connections=200)) as many:
        together = in_threads([lambda body=body: many.post("/v1/match", json=body).json() for body in bodies])  # type: ignore[misc]
    with serving(settings(images={"cache_tokens_bytes": 0, "cache_vectors_bytes": 0})) as fresh:
        for body, answer in zip(bodies, together, strict=True):
            for found, expected in zip(answer["data"], post(fresh, **body)["data"], strict=True):
                assert found["itm_logits"] == pytest.approx(expected["itm_logits"], abs=1e-5)
                assert found["cosine_score"] == pytest.approx(expected["cosine_score"], abs=1e-5)
    works = demo.metric("batch_size_sum", phase="score")
    assert works > demo.metric("batch_size_count", phase="score")


def test_server_timing_names_the_stages(demo: Service) -> None:
    response = demo.client.post("/v1/match", json={"image": as_base64(RED), "caption": "a red circle"})
    stages = [part.partition(";dur=") for part in response.headers["server-timing"].split(", ")]
    assert [name for name, _, _ in stages] == ["fetch", "decode", "queue", "device"]
    assert all(float(milliseconds) >= 0 for _, _, milliseconds in stages)


LARGE = {
    "images": [as_base64(encoded(picture(seed))) for seed in range(64)],
    "captions": [f"a caption numbered {i}" for i in range(64)],
}
SMALL = {"image": as_base64(encoded(picture(99))), "caption": "a caption"}


def test_a_small_request_is_answered_before_a_large_one_ends() -> None:
    model = FakeModel(step_seconds=0.02)
    with serving(fake_settings(engine={"max_step_cost": 160}), always(model)) as service:
        answers: dict[str, httpx.Response] = {}
        large = threading.Thread(target=lambda: answers.update(large=httpx.post(f"{service.url}/v1/match", json=LARGE)))
        large.start()
        wait_until(lambda: len(model.steps) > 4)
        assert service.client.post("/v1/match", json=SMALL).status_code == 200
        assert "large" not in answers
        large.join(20)
    assert len(answers["large"].json()["data"]) == 64 * 64
    assert len(model.steps) > 40


def test_the_readme_curl_works(demo: Service, tmp_path: Path) -> None:
    response = demo.client.post(
        "/v1/match",
        files={"image": (PICTURES / "red-circle.png").read_bytes()},
        data={"caption": ["a large red circle", "a large blue circle"]},
    )
    assert [match["itm_score"] > 0.5 for match in response.json()["data"]] == [True, False]
