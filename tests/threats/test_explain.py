"""Explanations that are made to harm: bounds and names of their fields, their cost, and what their answers may do."""

import base64
import io
import shutil
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from blip_serve.catalogue import EMBEDDED
from blip_serve.domain import explanation_cost, request_cost
from blip_serve.images.decode import Decoder
from blip_serve.models.explain_works import MAX_COST
from blip_serve.models.fake import FakeModel
from blip_serve.models.weights import load_part
from blip_serve.settings import EngineSettings, ModelSettings
from tests.support.errors import check
from tests.support.pictures import data_uri, picture
from tests.support.server import Service, always, fake_settings, serving, settings
from tests.support.waiting import WAIT_S, wait_until
from tests.threats.cases import GOOD, IMAGE, check_serves_on

PATH = "/v1/explain"
FEW = {"max_images": 1, "max_captions": 16, "max_pairs": 16, "max_zip_pairs": 1, "max_choices": 1, "max_beams": 1,
       "max_new_tokens": 1}  # fmt: skip
MARKUP = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{7*7}} \u202e red", "a\r\nset-cookie: a=b")


def explain(service: Service, **body: Any) -> httpx.Response:
    """The answer to a good request with `body` in place of some fields; a field that is `None` is left out."""
    given = {name: value for name, value in (GOOD | body).items() if value is not None}
    return service.client.post(PATH, json=given)


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"caption": None, "captions": ["a"] * 17}, "too_many_captions", "captions"),
        ({"image": None, "images": [IMAGE] * 17}, "too_many_captions", "images"),
        ({"image": None, "images": [IMAGE] * 3, "caption": None, "captions": ["a"] * 6}, "too_many_captions",
         "captions"),
        ({"caption": None, "captions": []}, "invalid_value", "captions"),
        ({"caption": " \n"}, "empty_input", "caption"),
        ({"caption": None, "captions": ["a", "\u200b"]}, "empty_input", "captions[1]"),  # the tokenizer drops it
        ({"caption": "\u0301", "per": "caption"}, "empty_input", "caption"),
        ({"caption": "...", "protocol": "paper"}, "empty_input", "caption"),
        ({"caption": "red " * 100}, "input_too_long", "caption"),
        ({"caption": "a" * 1_000_000}, "input_too_long", "caption"),
        ({"caption": None, "captions": ["a b c d e f g h i j k l m n o p q"] * 16}, "too_many_words", "captions"),
        ({"method": "lime"}, "invalid_value", "method"),
        ({"format": "svg"}, "invalid_value", "format"),
        ({"per": "token"}, "invalid_value", "per"),
        ({"layer": 3}, "invalid_value", "layer"),
        ({"layer": -1}, "invalid_value", "layer"),
        ({"layer": 10**400}, "invalid_value", "layer"),
        ({"layer": True}, "invalid_type", "layer"),
        ({"layer": 1.5}, "invalid_type", "layer"),
        ({"layer": "last"}, "invalid_type", "layer"),
        ({"question": "what?"}, "unsupported_parameter", "question"),
        ({"model": "demo-captioning", "method": "gradcam"}, "unsupported_value", "method"),
        ({"model": "demo-captioning", "question": "what?"}, "unsupported_parameter", "question"),
        ({"model": "demo-vqa"}, "empty_input", "question"),
        ({"model": "demo-vqa", "question": " "}, "empty_input", "question"),
    ],
)  # fmt: skip
def test_what_cannot_be_explained_is_refused_by_its_field(
    demo: Service, body: dict[str, Any], code: str, param: str
) -> None:
    check(explain(demo, **body), 400, code, param)
    check_serves_on(demo)


def test_a_huge_number_is_not_said_again(demo: Service) -> None:
    assert len(explain(demo, layer=10**4000).json()["error"]["message"]) < 200


def test_a_model_that_explains_nothing_says_so() -> None:
    with serving(fake_settings(), always(FakeModel("match"))) as service:
        check(explain(service), 400, "task_not_supported", "model")


@pytest.mark.parametrize("protocol", ["hf", "paper"])
@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("ΟΔΟΣ a", ["ΟΔΟΣ", "a"]),  # a sigma has another small form at the end of a word
        ("İ ﬁ", ["İ", "ﬁ"]),
        ("a\u200bb \u0301c", ["a\u200bb", "c"]),
        ("red\0 👍🏽", ["red", "👍🏽"]),
        ("红 circle", ["红", "circle"]),
    ],
)
def test_words_of_strange_texts_stand_where_they_are(
    demo: Service, protocol: str, caption: str, words: list[str]
) -> None:
    (found,) = explain(demo, caption=caption, protocol=protocol).json()["data"]
    assert [word["word"].strip("\0\u0301") for word in found["words"]] == words
    assert all(caption[word["start"] : word["end"]] == word["word"] for word in found["words"])


def test_markup_comes_back_as_data_only(demo: Service) -> None:
    for caption in MARKUP:
        answer = explain(demo, caption=caption)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "set-cookie" not in answer.headers
        (found,) = answer.json()["data"]
        assert all(caption[word["start"] : word["end"]] == word["word"] for word in found["words"])
        refused = explain(demo, caption=caption, method=caption)
        check(refused, 400, "invalid_value", "method")
        assert refused.headers["content-type"] == "application/json"


def test_a_known_picture_is_not_decoded_again_for_its_heat(demo: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    image = data_uri(picture(2500).resize((1200, 900)))
    assert explain(demo, image=image).status_code == 200

    def decode(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Decoder, "open", decode)
    (found,) = explain(demo, image=image, format="png").json()["data"]
    assert (found["width"], found["height"]) == (1200, 900)
    for word in found["words"]:
        with Image.open(io.BytesIO(base64.b64decode(word["image"].partition(",")[2]))) as layer:
            assert (layer.format, layer.size) == ("PNG", (384, 288))


def test_weights_that_have_vanished_fail_explanations_only(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    shutil.copytree(EMBEDDED / "demo-retrieval", folder)
    with serving(settings(models=(ModelSettings(id="demo", source=str(folder), preload=True),))) as service:
        (folder / "model.safetensors").unlink()
        check(explain(service), 503, "load_failed", None)
        assert service.client.post("/v1/match", json=GOOD).status_code == 200


def test_a_slow_load_of_the_weights_holds_up_explanations_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask meanwhile: no thread that decodes or tokenizes waits for the disk."""
    go = threading.Event()

    def slow(network: Any, folder: Path, device: Any) -> None:
        assert go.wait(WAIT_S)
        load_part(network, folder, device)

    monkeypatch.setattr("blip_serve.models.beside.load_part", slow)
    answers: list[int] = []
    with serving(settings(models=(ModelSettings(id="demo-retrieval", preload=True),))) as service:

        def ask() -> None:
            answer = httpx.post(service.url + PATH, json=GOOD, timeout=WAIT_S, trust_env=False)
            answers.append(answer.status_code)

        asking = [threading.Thread(target=ask) for _ in range(6)]
        for thread in asking:
            thread.start()
        try:
            wait_until(lambda: service.metric("queue_requests") >= len(asking))
            for image in (IMAGE, data_uri(picture(2501))):
                assert service.client.post("/v1/match", json=GOOD | {"image": image}).status_code == 200
            assert not answers
        finally:
            go.set()
            for thread in asking:
                thread.join(WAIT_S)
    assert answers == [200] * 6


def test_explanations_are_admitted_at_their_cost_and_refused_where_they_would_overfill() -> None:
    """Two long requests fill the queue that a hundred short ones would."""
    model = FakeModel("match", "explain")
    captions = ["red " * 128] * 16
    cost = request_cost(1, explanation_cost(16, asked=0))
    answers: list[httpx.Response] = []
    with serving(fake_settings(limits=FEW, engine={"max_queue_cost": 2 * cost}), always(model)) as service:
        body = {"image": IMAGE, "captions": captions}

        def ask() -> None:
            answers.append(httpx.post(service.url + PATH, json=body, timeout=WAIT_S, trust_env=False))

        model.open.clear()
        asking = [threading.Thread(target=ask) for _ in range(2)]
        for thread in asking:
            thread.start()
        try:
            wait_until(lambda: b"blip_serve_queue_requests 2.0" in service.app.state.telemetry.page())
            refused = service.client.post(PATH, json=GOOD)
            check(refused, 429, "overloaded", None)
            assert refused.headers["retry-after"]
            assert not answers
        finally:
            model.open.set()
            for thread in asking:
                thread.join(WAIT_S)
        assert [answer.status_code for answer in answers] == [200, 200]
        check_serves_on(service)


def test_an_explanation_that_costs_more_than_the_queue_holds_takes_all_of_it() -> None:
    settings = fake_settings(limits=FEW, engine={"max_queue_cost": request_cost(16, explanation_cost(16, 1, 0))})
    with serving(settings, always(FakeModel("match", "explain"))) as service:
        body = {"image": IMAGE, "captions": ["red " * 128] * 16}
        assert service.client.post(PATH, json=body).status_code == 200


def test_the_longest_explanation_fits_into_the_smallest_step() -> None:
    EngineSettings(max_step_cost=MAX_COST)
    with pytest.raises(ValueError, match="max_step_cost"):
        EngineSettings(max_step_cost=MAX_COST - 1)
