"""The playground's rooms Caption, Ask, Rank and Models, used in a real Chromium as a person would."""

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from blip_serve.api.playground import PICTURES
from blip_serve.catalogue import ModelCard
from blip_serve.domain import AnyModel
from blip_serve.findings import Finding, Findings
from blip_serve.fit import NAME as FIT
from blip_serve.fit import Fit
from blip_serve.models.fake import FakeModel
from blip_serve.settings import DEMO_ANSWERS, ModelSettings
from tests.browser.conftest import Visit
from tests.support.server import always, fake_settings, serving
from tests.support.waiting import WAIT_S

pytestmark = pytest.mark.browser

if TYPE_CHECKING:
    from playwright.sync_api import Page  # of the extra `browser`, which the other tests do without

REFUSED, FAILED = ("status of 400",), ("status of 503",)
PHONE = {"width": 390, "height": 844}
TOUCH = """
() => [...document.querySelectorAll("main :is(a, button, input, select, textarea, summary), main fieldset span")]
  .filter((each) => each.checkVisibility({visibilityProperty: true}) && !each.matches(".unseen, .quiet a, p a"))
  .filter((each) => each.getBoundingClientRect().height < 43.5)
  .map((each) => each.outerHTML)
"""


def sent(page: "Page", path: str, act: Callable[[], Any]) -> Any:
    """The body of the request to `path` that `act` leads to, which is answered well."""
    with page.expect_response(lambda response: response.url.endswith(path)) as answered:
        act()
    assert answered.value.status == 200, answered.value.text()
    return json.loads(answered.value.request.post_data or "null")


def sample(name: str) -> str:
    return str(PICTURES / f"{name}.png")


def entries(page: "Page") -> list[str]:
    """The ranked pictures' names, the first first."""
    page.wait_for_selector(".ranked:not([aria-busy]) .bar")
    names: list[str] = page.locator(".ranked .name").all_inner_texts()
    return names


def test_a_caption_is_there_at_once_and_follows_the_picture(visit: Visit) -> None:
    page = visit("#/caption")
    page.get_by_role("button", name="circle", exact=True).wait_for()
    assert page.locator(".written").inner_text() == "a large red circle"
    body = sent(
        page, "/v1/chat/completions", lambda: page.get_by_label("Choose a picture").set_input_files(sample("pink-star"))
    )
    page.get_by_role("button", name="star", exact=True).wait_for()
    assert page.locator(".written").inner_text() == "a small pink star"
    assert body["model"] == "blip-serve/demo-captioning:plain"
    assert body["stream"]
    assert body["stream_options"] == {"include_usage": True}
    assert "first word after" in page.locator("#footer").inner_text()


def test_a_caption_begins_as_told_and_the_address_says_so(visit: Visit) -> None:
    page = visit("#/caption")
    page.get_by_role("button", name="circle", exact=True).wait_for()
    body = sent(page, "/v1/chat/completions", lambda: page.get_by_label("Begin with").fill("a drawing of"))
    assert body["model"] == "blip-serve/demo-captioning"
    page.get_by_role("button", name="drawing", exact=True).wait_for()
    assert page.locator(".written").inner_text() == "a drawing of a large red circle"
    assert "begin=a+drawing+of" in page.url
    again = visit("#" + page.url.partition("#")[2])
    again.get_by_role("button", name="drawing", exact=True).wait_for()


def test_captions_are_drawn_by_beams_and_by_chance(visit: Visit) -> None:
    page = visit("#/caption")
    page.get_by_role("button", name="circle", exact=True).wait_for()
    body = sent(page, "/v1/chat/completions", lambda: page.get_by_text("Beams", exact=True).first.click())
    assert body["num_beams"] == 3
    body = sent(page, "/v1/chat/completions", lambda: page.get_by_text("Sampled", exact=True).click())
    assert body["temperature"] == 1
    assert "num_beams" not in body
    page.get_by_text("More settings").click()
    page.get_by_label("Seed").fill("7")
    body = sent(page, "/v1/chat/completions", lambda: page.get_by_role("spinbutton", name="Captions").fill("3"))
    assert (body["n"], body["seed"]) == (3, 7)
    page.locator(".written > li:nth-child(3) .words button").first.wait_for()
    sent(page, "/v1/chat/completions", lambda: page.get_by_role("button", name="Draw again").click())


def test_a_words_heat_lies_over_the_picture_while_it_has_the_focus(visit: Visit) -> None:
    page = visit("#/caption")
    word = page.get_by_role("button", name="circle", exact=True)
    word.wait_for()
    body = sent(page, "/v1/explain", word.focus)
    assert {key: body[key] for key in ("caption", "method", "model")} == {
        "caption": "a large red circle",
        "method": "attention",
        "model": "blip-serve/demo-captioning",
    }
    page.locator(".heat.shown").wait_for()
    assert "circle" in page.locator(".heat-note").inner_text()
    page.keyboard.press("Escape")
    page.wait_for_selector(".heat:not(.shown)", state="attached")


def test_a_wrong_setting_is_told_in_place_and_nothing_is_lost(visit: Visit) -> None:
    page = visit("#/caption?begin=a+drawing+of&way=beams", expected=REFUSED)
    page.get_by_role("button", name="drawing", exact=True).wait_for()
    page.get_by_text("More settings").click()
    page.get_by_label("Beams", exact=True).last.fill("500")
    page.get_by_role("alert").filter(has_text="the limit is 8").wait_for()
    assert page.get_by_label("Begin with").input_value() == "a drawing of"
    assert page.locator(".written").inner_text() == "a drawing of a large red circle"
    sent(page, "/v1/chat/completions", lambda: page.get_by_label("Beams", exact=True).last.fill("2"))
    page.wait_for_selector(".answers .error", state="detached")


def test_an_answer_has_its_likeliest_words_with_probabilities(visit: Visit) -> None:
    page = visit("#/ask")
    page.get_by_role("meter", name="one").wait_for()
    page.get_by_role("button", name="what colour is the circle?").click()
    red = page.get_by_role("meter", name="red")
    red.wait_for()
    assert float(red.get_attribute("aria-valuenow") or 0) > 0.9
    assert page.locator(".answer").inner_text().strip() == "red"
    assert "first of the answer" in page.locator(".answers").inner_text()
    explained = sent(page, "/v1/explain", lambda: page.locator(".answer button").focus())
    assert explained["question"] == "what colour is the circle?"
    assert explained["caption"] == "red"


def test_options_are_chips_with_a_bar_each(visit: Visit) -> None:
    page = visit("#/ask?q=what+colour+is+the+circle%3F")
    page.get_by_role("meter", name="red").wait_for()
    field = page.get_by_label("Only these answers")
    field.click()
    page.keyboard.type("blue,")
    body = sent(page, "/v1/decisions", lambda: page.keyboard.type("red\n"))
    assert [choice["value"] for choice in body["questions"][0]["choices"]] == ["blue", "red"]
    page.get_by_role("meter", name="blue").wait_for()
    assert page.locator(".bars .label").all_inner_texts() == ["blue", "red"]
    assert page.locator(".answer").inner_text().strip() == "red"
    body = sent(page, "/v1/decisions", lambda: page.keyboard.type("RED, green,"))
    assert [choice["value"] for choice in body["questions"][0]["choices"]] == ["blue", "red", "green"]
    sent(page, "/v1/decisions", lambda: page.get_by_role("button", name="Remove option green").click())
    assert "o=blue&o=red" in page.url
    sent(page, "/v1/chat/completions", lambda: page.keyboard.press("Backspace"))


def test_pictures_are_ranked_by_a_text_and_open_in_match(visit: Visit) -> None:
    page = visit("#/rank")
    assert entries(page)[0] == "blue-square-green-star.png"
    body = sent(page, "/v1/match", lambda: page.get_by_label("Text", exact=True).fill("a pink star"))
    assert len(body["images"]) == 6
    page.locator(".ranked > li:first-child", has_text="pink-star.png").wait_for()
    assert page.locator(".ranked > li").first.get_by_role("meter").count() == 2
    assert "text=a+pink+star" in page.url
    page.get_by_role("link", name="Open pink-star.png in Match").click()
    page.wait_for_url(re.compile(r"#/match\?.*c=a\+pink\+star"))
    assert page.locator(".stage img").get_attribute("alt") == "pink-star.png"
    page.go_back()
    page.wait_for_selector(".ranked .bar")
    assert page.get_by_label("Text", exact=True).input_value() == "a pink star"


def test_dropped_pictures_join_and_one_that_is_none_is_marked(visit: Visit, tmp_path: Path) -> None:
    page = visit("#/rank", expected=REFUSED)
    entries(page)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    page.get_by_label("Choose pictures").set_input_files(str(broken))
    page.locator(".answers").get_by_role("alert").wait_for()
    page.locator(".faulty").filter(has_text="broken.png").wait_for()
    sent(page, "/v1/match", lambda: page.get_by_role("button", name="Remove broken.png").click())
    page.wait_for_selector(".answers .error", state="detached")
    assert len(entries(page)) == 6
    sent(page, "/v1/match", lambda: page.get_by_role("button", name="Remove red-circle.png").click())
    assert "red-circle.png" not in entries(page)


def test_more_pictures_than_a_request_may_hold_can_be_taken_away_again(visit: Visit) -> None:
    page = visit("#/rank", expected=REFUSED)
    entries(page)
    one = (PICTURES / "red-circle.png").read_bytes()
    many = [{"name": f"{i}.png", "mimeType": "image/png", "buffer": one} for i in range(60)]
    page.get_by_label("Choose pictures").set_input_files(many)
    page.get_by_role("alert").filter(has_text="66 images; the limit is 64").wait_for()
    assert entries(page)[0] == "blue-square-green-star.png"
    assert len(entries(page)) == 66
    page.get_by_role("button", name="Remove all").click()
    page.get_by_text("Drop some pictures").wait_for()
    page.get_by_role("button", name="Sample: a small pink star").click()
    page.locator(".ranked li", has_text="pink-star.png").wait_for()
    page.get_by_role("button", name="Sample: a small pink star").click()
    page.get_by_text("Drop some pictures").wait_for()


def test_texts_are_ranked_for_a_picture_and_sorted_by_either_score(visit: Visit) -> None:
    page = visit("#/rank")
    entries(page)
    page.get_by_text("One picture, many texts").click()
    page.wait_for_selector(".ranked .bar")
    body = sent(
        page,
        "/v1/match",
        lambda: page.get_by_label("Texts, one a line").fill("a blue star\na red circle\n\na red circle"),
    )
    assert body["captions"] == ["a blue star", "a red circle"]
    page.locator(".ranked > li:nth-child(3)").wait_for(state="detached")
    assert page.locator(".ranked .thumb").all_inner_texts() == ["a red circle", "a blue star"]
    page.get_by_text("cosine", exact=True).first.click()
    assert "order=cosine" in page.url
    page.get_by_role("link", name="a blue star").click()
    page.wait_for_url(re.compile(r"#/match\?.*c=a\+blue\+star"))


def test_a_models_card_says_what_it_is_and_leads_into_its_rooms(visit: Visit) -> None:
    page = visit("#/models")
    card = page.locator(".card").filter(has_text="blip-serve/demo-vqa")
    text = card.inner_text()
    for words in ("ready", "pixels (65 tokens)", "MB float32", "BSD-3-Clause", "Answers a question"):
        assert words in text
    card.get_by_text("How to call it").click()
    assert re.search(r"curl http://127.0.0.1:\d+/v1/chat/completions", card.locator("pre").inner_text())
    card.get_by_role("link", name="blip-serve/demo-vqa").click()
    page.wait_for_url("**/#/models?id=blip-serve*")
    assert page.locator(".card").count() == 1
    page.get_by_role("link", name="Ask").last.click()
    page.wait_for_url("**/#/ask?model=blip-serve*")
    page.go_back()
    assert page.locator(".card").count() == 1


def test_a_model_that_cannot_be_loaded_says_why(visit: Visit) -> None:
    missing = ModelSettings(id="Salesforce/blip-vqa-base", source="/nowhere")
    with serving(fake_settings(models=(missing,)), ready=False) as service:
        page = visit("#/models?id=blip-vqa-base", service, FAILED)
        page.get_by_text("No model is called blip-vqa-base").wait_for()
        page = visit(f"#/models?id={missing.id}", service, FAILED)
        assert page.locator(".state").inner_text() == "not loaded yet"
        page.get_by_role("button", name="Load it now").click()
        page.get_by_text("failed to load").wait_for()
        assert "no such folder" in page.locator(".card .fault").inner_text()
        assert page.get_by_role("button", name="Load it now").is_visible()


@pytest.mark.parametrize("room", ["caption", "ask"])
def test_a_room_without_a_model_says_so(visit: Visit, room: str) -> None:
    only = ModelSettings(id="Salesforce/blip-itm-base-coco", preload=True)
    with serving(fake_settings(models=(only,)), always(FakeModel("match", "embed"))) as service:
        page = visit(f"#/{room}", service)
        page.get_by_text("No model here can do this").wait_for()


def test_a_card_follows_its_model_while_it_loads(visit: Visit) -> None:
    go_on = threading.Event()

    def load(settings: ModelSettings, card: ModelCard) -> tuple[AnyModel, ModelCard]:
        assert go_on.wait(WAIT_S)
        return FakeModel("match", "embed"), card

    waiting = ModelSettings(id="Salesforce/blip-itm-base-coco")
    with serving(fake_settings(models=(waiting,)), load, ready=False) as service:
        page = visit("#/models", service, FAILED)
        page.get_by_role("button", name="Load it now").click()
        page.get_by_text(re.compile(r"loading . \d+ s so far")).wait_for()
        page.get_by_text("How to call it").click()
        go_on.set()
        page.get_by_text("ready", exact=True).wait_for()
        assert page.locator(".card pre").is_visible()  # what was unfolded stays so


def test_what_a_visitor_types_stays_text(visit: Visit) -> None:
    page = visit("#/ask?q=<img src=x onerror=alert(1)>&o=<b>red</b>&o=<script>alert(1)</script>")
    page.get_by_role("meter", name="<b>red</b>").wait_for()
    page.goto(page.url.partition("#")[0] + "#/rank?text=<img src=x onerror=alert(1)>")
    file = {
        "name": "<img src=x onerror=alert(1)>.png",
        "mimeType": "image/png",
        "buffer": (PICTURES / "red-circle.png").read_bytes(),
    }
    page.get_by_label("Choose pictures").set_input_files([file])
    page.locator(".ranked .name").filter(has_text="onerror").wait_for()
    page.goto(page.url.partition("#")[0] + "#/models?id=<img src=x onerror=alert(1)>")
    page.get_by_text("No model is called <img").wait_for()
    assert page.locator("main script, main b, img[src=x]").count() == 0


@pytest.mark.parametrize(
    "address", ["#/caption?way=sampled&n=3", "#/ask?o=red&o=blue", "#/rank", "#/rank?by=texts", "#/models"]
)
def test_a_phones_width_is_enough_and_targets_are_large(visit: Visit, address: str) -> None:
    page = visit(address, viewport=PHONE, has_touch=True, is_mobile=True)
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert page.evaluate(TOUCH) == []


def test_a_card_shows_what_was_found_out_about_its_model_as_text(visit: Visit, tmp_path: Path) -> None:
    only = ModelSettings(id="Salesforce/blip-itm-base-coco", preload=True)
    figures = {"TR@1": 82.52, "checked <b>twice</b>": True, "Java": None}
    Findings(tmp_path).keep(
        Finding(
            kind="evaluation", name="<i>retrieval</i>", model=only.id, digest="sha256:0", dtype="bfloat16",
            machine="a CPU", figures=figures, made=1795132800,
        )
    )  # fmt: skip
    fit = Fit(
        dtype="float32", rest_bytes=10**9, step_bytes=12 * 10**8, held_bytes=2 * 10**9, fits=True, pairs_per_second=4
    )
    Findings(tmp_path).keep(
        Finding(kind="fit", name=FIT, model=only.id, digest="", dtype="float32", machine="", figures=fit.figures)
    )
    settings = fake_settings(models=(only, DEMO_ANSWERS), data_dir=tmp_path)
    with serving(settings, always(FakeModel("match", "embed"))) as service:
        page = visit(f"#/models?id={only.id}", service)
        found = page.locator(".finding").first
        found.wait_for()
        assert found.locator("h3").inner_text() == "Evaluation: <i>retrieval</i>"
        assert found.locator("dd").all_inner_texts() == ["82.52", "yes", "\N{EN DASH}"]
        assert "bfloat16, a CPU, Nov 20, 2026" in found.inner_text()
        found = page.locator(".finding").last
        assert found.locator("h3").inner_text() == "Memory and speed"
        assert found.locator("dd").all_inner_texts() == ["1,000", "1,200", "2,000", "yes", "4"]
        assert found.locator("p").inner_text() == "float32"
        page = visit("#/models", service)
        card = page.locator(".card").filter(has_text=DEMO_ANSWERS.id)
        card.get_by_text("Found out here").click()
        card.get_by_text("Nothing yet").wait_for()
        assert f"blip-serve doctor --model {DEMO_ANSWERS.id}" in card.get_by_label("Commands").inner_text()
