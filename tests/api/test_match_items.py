"""`POST /v1/match` of many pairs, of which some are wrong: `limits.max_zip_pairs` and `on_error: "item"`."""

import base64
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from blip_serve.domain import Item, MatchItem, Prepared
from blip_serve.errors import OutOfMemory
from blip_serve.models.fake import FakeModel, FakeWork
from tests.support.errors import check
from tests.support.pictures import data_uri, picture
from tests.support.server import Service, always, fake_settings, serving
from tests.support.waiting import WAIT_S, wait_until

RED, BLUE = data_uri(picture(1)), data_uri(picture(2))
SCORES = {"itm_score", "itm_logits", "cosine_score"}


def some_image(number: int) -> str:
    """What the fake takes for an image."""
    return base64.b64encode(b"image %d" % number).decode()


def post(service: Service, **body: Any) -> dict[str, Any]:
    response = service.client.post("/v1/match", json={"on_error": "item", **body})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def codes(answer: dict[str, Any]) -> list[str | None]:
    """The code of each pair's error, and `None` where it has scores; never both, and never neither."""
    for match in answer["data"]:
        assert ("error" in match) != (match.keys() >= SCORES)
    return [match["error"]["code"] if "error" in match else None for match in answer["data"]]


def test_each_wrong_pair_has_its_own_error_and_the_others_their_scores(demo: Service) -> None:
    images = [RED, "aGVsbG8=", "file:///etc/passwd", BLUE, {"colour": "red"}, "data:;base64,", RED, RED]
    captions = ["a red circle", "a", "a", " ", "a", "a", "red " * 600, "a star"]
    answer = post(demo, images=images, captions=captions, pairing="zip")
    assert codes(answer) == [
        None, "unsupported_image_format", "unsupported_url_scheme", "empty_input", "unknown_parameter", "empty_image",
        "input_too_long", None,
    ]  # fmt: skip
    assert [match["error"]["param"] for match in answer["data"] if "error" in match] == [
        "images[1]", "images[2]", "captions[3]", "images[4].colour", "images[5]", "captions[6]",
    ]  # fmt: skip
    for match in answer["data"]:
        assert set(match.get("error", {"message", "type", "param", "code"})) == {"message", "type", "param", "code"}
    alone = demo.client.post("/v1/match", json={"images": [RED, RED], "captions": [captions[0], captions[7]],
                                                "pairing": "zip"}).json()  # fmt: skip
    for found, expected in zip((answer["data"][0], answer["data"][7]), alone["data"], strict=True):
        assert found["itm_score"] == pytest.approx(expected["itm_score"], abs=1e-5)
    assert answer["usage"]["prompt_tokens_details"]["image_tokens"] == 65
    assert answer["usage"]["prompt_tokens"] == alone["usage"]["prompt_tokens"]


@pytest.mark.parametrize("bad", [[1], [0, 2, 3], [0, 1, 2, 3, 4]])
def test_wrong_captions_of_a_cross_leave_the_others_their_scores(demo: Service, bad: list[int]) -> None:
    captions = ["red " * 600 if i in bad else f"a star and {i} circles" for i in range(5)]
    answer = post(demo, images=[RED, "aGVsbG8="], captions=captions)
    expected = ["input_too_long" if i in bad else None for i in range(5)]
    assert codes(answer) == expected + [code or "unsupported_image_format" for code in expected]
    assert [match["caption_index"] for match in answer["data"]] == [*range(5), *range(5)]


def test_without_it_the_first_fault_is_the_request_s(demo: Service) -> None:
    body = {"images": [RED, "aGVsbG8="], "captions": ["a", "b"], "pairing": "zip"}
    check(demo.client.post("/v1/match", json=body), 400, "unsupported_image_format", "images[1]")
    check(demo.client.post("/v1/match", json=body | {"on_error": "mine"}), 400, "invalid_value", "on_error")


def test_a_form_has_it_too(demo: Service) -> None:
    response = demo.client.post(
        "/v1/match",
        files=[("image", b"hello"), ("image", base64.b64decode(RED.partition(",")[2]))],
        data={"caption": ["a", "b"], "pairing": "zip", "on_error": "item"},
    )
    assert codes(response.json()) == ["unsupported_image_format", None]


def test_zip_takes_a_thousand_pairs_and_not_one_more() -> None:
    model = FakeModel("match")
    with serving(fake_settings(), always(model)) as service:
        images, captions = [some_image(i) for i in range(1000)], [f"caption {i}" for i in range(1000)]
        answer = post(service, images=images, captions=captions, pairing="zip")
        assert codes(answer) == [None] * 1000
        assert [(match["image_index"], match["caption_index"]) for match in answer["data"]] == [
            (i, i) for i in range(1000)
        ]
        more = {"images": [*images, "A"], "captions": [*captions, "a"], "pairing": "zip", "on_error": "item"}
        check(service.client.post("/v1/match", json=more), 400, "too_many_images", "images")
        uneven = {"images": images, "captions": captions[1:], "pairing": "zip", "on_error": "item"}
        check(service.client.post("/v1/match", json=uneven), 400, "invalid_value", "pairing")
        cross = {"images": images[:65], "caption": "a"}
        check(service.client.post("/v1/match", json=cross), 400, "too_many_images", "images")


def test_the_limit_is_a_setting_and_holds_for_forms() -> None:
    limits = {"max_images": 1, "max_captions": 1, "max_zip_pairs": 3}
    with serving(fake_settings(limits=limits), always(FakeModel("match"))) as service:
        for count, status in ((3, 200), (4, 400)):
            files = [("image", b"image %d" % i) for i in range(count)]
            data = {"caption": [f"caption {i}" for i in range(count)], "pairing": "zip"}
            assert service.client.post("/v1/match", files=files, data=data).status_code == status


class Counting(FakeModel):
    """Counts the images that came to it; its device stops, once it has answered so many, until it is let go."""

    def __init__(self, answers: int) -> None:
        super().__init__("match", on_launch=self._stop)
        self.asked = 0
        self.let_go = threading.Event()
        self._left = answers

    def prepare(self, item: Item) -> Prepared:
        if isinstance(item, MatchItem) and item.image.digest != "warm-up":
            self.asked += 1
        return super().prepare(item)

    def _stop(self, works: Sequence[FakeWork]) -> None:
        if self.asked and self._left <= 0:
            assert self.let_go.wait(WAIT_S)
        self._left -= self.asked and sum(work.phase == "score" for work in works)


def test_pairs_that_the_deadline_cuts_off_have_an_error() -> None:
    """Of ten images, two at a time, the first are answered before the device stops; the last are not begun."""
    model = Counting(answers=2)
    settings = fake_settings(limits={"max_images": 2}, server={"request_timeout_s": 3})
    with serving(settings, always(model)) as service:
        images, captions = [some_image(i) for i in range(10)], [f"caption {i}" for i in range(10)]
        answer = post(service, images=images, captions=captions, pairing="zip")
        model.let_go.set()
        assert codes(answer)[0] is None
        assert codes(answer)[-4:] == ["deadline_exceeded"] * 4
        assert set(codes(answer)) == {None, "deadline_exceeded"}
        late = [match["error"] for match in answer["data"] if "error" in match]
        assert {error["type"] for error in late} == {"server_error"}
        assert late[-1]["param"] == "images[9]"
        assert model.asked < 10
        assert answer["usage"]["prompt_tokens_details"]["image_tokens"] == 10 * codes(answer).count(None)


def test_only_so_many_images_are_under_way() -> None:
    model = Counting(answers=0)
    with serving(fake_settings(limits={"max_images": 4}, engine={"workers": 1}), always(model)) as service:
        body = {"images": [some_image(i) for i in range(20)], "captions": ["a"] * 20, "pairing": "zip"}
        answers: list[int] = []
        asking = threading.Thread(
            target=lambda: answers.append(service.client.post("/v1/match", json=body).status_code)
        )
        asking.start()
        wait_until(lambda: model.asked == 4)
        for _ in range(20):  # time in which a fifth would come, were there nothing in its way
            assert service.client.get("/livez").is_success
        assert model.asked == 4
        model.let_go.set()
        asking.join(WAIT_S)
        assert (answers, model.asked) == ([200], 20)


def test_what_is_wrong_with_the_service_is_the_request_s_and_no_pair_s() -> None:
    def fail(works: Sequence[FakeWork]) -> None:
        if broken:
            raise broken[0]

    broken: list[BaseException] = []
    with serving(fake_settings(), always(FakeModel("match", on_launch=fail))) as service:
        broken.append(OutOfMemory("The device is out of memory.", retry_after=1))
        assert codes(post(service, image=some_image(1), caption="a")) == ["out_of_memory"]
        broken[0] = SystemExit()
        body = {"images": [some_image(1)] * 2, "captions": ["a"] * 2, "pairing": "zip", "on_error": "item"}
        check(service.client.post("/v1/match", json=body), 503, "unavailable", None)
