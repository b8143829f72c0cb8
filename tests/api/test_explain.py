"""`POST /v1/explain` on the embedded checkpoints, over HTTP."""

import base64
from io import BytesIO
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from blip_serve.catalogue import EMBEDDED
from tests.support.server import Service

PICTURE = (EMBEDDED / "pictures" / "blue-square-green-star.png").read_bytes()
CAPTION = "a blue square and a green star"
WIDE = (600, 200)


def wide(orientation: int = 1) -> bytes:
    """The picture stretched; with an orientation, lying as that says."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    with Image.open(BytesIO(PICTURE)) as picture:
        shown = picture.convert("RGB").resize(WIDE)
        if orientation == 6:
            shown = shown.transpose(Image.Transpose.ROTATE_90)
        file = BytesIO()
        shown.save(file, "PNG", exif=tags)
    return file.getvalue()


def asked(service: Service, image: bytes = PICTURE, **body: Any) -> httpx.Response:
    return service.client.post("/v1/explain", json={"image": base64.b64encode(image).decode()} | body)


def explained(service: Service, image: bytes = PICTURE, **body: Any) -> list[dict[str, Any]]:
    response = asked(service, image, **body)
    assert response.status_code == 200, response.text
    data: list[dict[str, Any]] = response.json()["data"]
    return data


def hottest(word: dict[str, Any]) -> tuple[int, int]:
    """Row and column."""
    cells = [(value, y, x) for y, row in enumerate(word["map"]) for x, value in enumerate(row)]
    _, y, x = max(cells)
    return y, x


def test_words_lead_to_the_objects_that_they_name(demo: Service) -> None:
    [found] = explained(demo, caption=CAPTION)
    assert [word["word"] for word in found["words"]] == CAPTION.split()
    assert [CAPTION[word["start"] : word["end"]] for word in found["words"]] == CAPTION.split()
    places = {word["word"]: hottest(word) for word in found["words"]}
    square, star = [places["blue"], places["square"]], [places["green"], places["star"]]
    assert all(y < 4 <= x for y, x in square)  # upper right
    assert all(x < 4 <= y for y, x in star)  # lower left
    assert (found["method"], found["layer"], found["itm_score"] > 0.9) == ("gradcam", 0, True)


def test_the_answer_has_the_documented_shape(demo: Service) -> None:
    answer = asked(demo, captions=["a star", "a red star"], method="attention", layer="all").json()
    assert (answer["object"], answer["id"][:8], answer["protocol"]) == ("list", "explain-", "hf")
    assert answer["usage"]["prompt_tokens_details"]["image_tokens"] == 65
    first, second = answer["data"]
    assert (first["index"], second["index"], second["caption_index"], second["image_index"]) == (0, 1, 1, 0)
    assert (second["method"], second["layer"], len(second["words"])) == ("attention", "all", 3)
    for word in second["words"]:
        assert len(word["map"]) == 8
        assert {len(row) for row in word["map"]} == {8}
        assert max(map(max, word["map"])) == 1
        assert min(map(min, word["map"])) >= 0
        assert word["maximum"] > 0
        assert "image" not in word


def test_the_weights_that_it_loads_are_counted(demo: Service) -> None:
    explained(demo, caption="a star")
    assert demo.metric("explain_weights_bytes", model="blip-serve/demo-retrieval") > 1e6


def test_the_score_is_that_of_a_match(demo: Service) -> None:
    body = {"image": base64.b64encode(PICTURE).decode(), "captions": [CAPTION, "a red ring"]}
    matched = demo.client.post("/v1/match", json=body).json()["data"]
    for match, found in zip(matched, explained(demo, captions=body["captions"]), strict=True):
        assert found["itm_logits"] == pytest.approx(match["itm_logits"], abs=1e-5)


def test_a_caption_s_map_is_the_mean_of_its_words(demo: Service) -> None:
    [words] = explained(demo, caption=CAPTION)
    [whole] = explained(demo, caption=CAPTION, per="caption")
    [one] = whole["words"]
    assert (one["word"], one["start"], one["end"]) == (CAPTION, 0, len(CAPTION))
    mean = [
        sum(word["map"][y][x] * word["maximum"] for word in words["words"]) / len(words["words"])
        for y in range(8)
        for x in range(8)
    ]
    assert [n * one["maximum"] for row in one["map"] for n in row] == pytest.approx(mean, abs=2e-5 * max(mean))


def test_a_picture_lies_over_the_upright_image_in_its_proportions(demo: Service) -> None:
    for lying in (1, 6):
        [found] = explained(demo, wide(lying), caption="a star", format="png")
        assert (found["width"], found["height"]) == WIDE
        word = found["words"][1]
        assert "map" not in word
        kind, _, content = word["image"].partition(",")
        assert kind == "data:image/png;base64"
        with Image.open(BytesIO(base64.b64decode(content))) as layer:
            assert layer.size == (384, 128)
            opacity = np.asarray(layer.convert("RGBA").getchannel("A"))
        y, x = np.unravel_index(opacity.argmax(), opacity.shape)
        assert [int(x) < 192, int(y) > 64] == [True, True], lying  # the star: lower left


@pytest.mark.parametrize("model", ["demo-captioning", "demo-captioning:plain"])
def test_a_written_caption_shows_what_each_word_attends_to(demo: Service, model: str) -> None:
    [found] = explained(demo, model=model, caption=CAPTION)
    assert (found["method"], "itm_score" in found) == ("attention", False)
    assert [word["word"] for word in found["words"]] == CAPTION.split()
    y, x = hottest(found["words"][-1])
    assert x < 4 <= y


def test_an_answer_shows_what_its_question_attends_to(demo: Service) -> None:
    question = "what colour is the star?"
    response = asked(demo, model="demo-vqa", question=question, caption="green")
    [found] = response.json()["data"]
    assert (found["method"], [word["word"] for word in found["words"]]) == ("attention", ["green"])
    assert response.json()["usage"]["prompt_tokens"] > 65 + len(question.split())
