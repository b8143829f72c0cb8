"""The playground's shell and its room Match, in a real Chromium, as a visitor uses them."""

import base64
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from blip_serve.api.playground import PICTURES
from blip_serve.models.fake import FakeModel
from tests.browser.conftest import Visit
from tests.support.server import Service, always, fake_settings, serving, with_key

pytestmark = pytest.mark.browser

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page  # of the extra `browser`, which the other tests do without

RED_CIRCLE = PICTURES / "red-circle.png"
STAR = PICTURES / "pink-star.png"
AWKWARD = """it's "5" $HOME `id` \\n; @a,b <c> \N{PARTY POPPER}"""
PASTE = """
([name, data]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const given = new DataTransfer();
  given.items.add(new File([bytes], name, {type: "image/png"}));
  const event = %s;
  document.body.dispatchEvent(event);
}
"""
PASTED = PASTE % 'new ClipboardEvent("paste", {clipboardData: given, bubbles: true, cancelable: true})'
DROPPED = PASTE % 'new DragEvent("drop", {dataTransfer: given, bubbles: true, cancelable: true})'
HEAT_AT = """
(canvas) => {
  const {data, width, height} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let best = 3;
  for (let i = 3; i < data.length; i += 4) if (data[i] > data[best]) best = i;
  const place = (best - 3) / 4;
  return {opacity: data[best], x: (place % width) / width, y: Math.floor(place / width) / height};
}
"""


def caption(page: "Page", number: int) -> "Locator":
    return page.get_by_label("Caption", exact=True).nth(number)


def row(page: "Page", number: int) -> "Locator":
    return page.locator(".captions > li").nth(number)


def scored(page: "Page", number: int, name: str = "ITM") -> float:
    """The caption's score, once it is known."""
    meter = row(page, number).get_by_role("meter", name=name).first
    page.wait_for_function("(bar) => !bar.classList.contains('unknown')", arg=meter.element_handle())
    return float(meter.get_attribute("aria-valuenow") or "nan")


def settled(page: "Page") -> None:
    """Waits until every caption has its scores."""
    page.wait_for_function("() => document.querySelector('.bar') && !document.querySelector('.bar.unknown')")


def noted(page: "Page", word: str) -> None:
    """Waits until the heat is this word's."""
    page.get_by_text(re.compile(f"“{word}”: ")).wait_for()


def snippet(page: "Page", name: str) -> str:
    page.get_by_role("button", name=name, exact=True).click()
    text: str = page.get_by_label("Code").inner_text()
    return text


def test_the_first_thing_seen_is_an_answer(visit: Visit) -> None:
    page = visit()
    assert scored(page, 0) > 0.9
    assert scored(page, 1) < 0.1
    assert -1 <= scored(page, 1, "cosine") < scored(page, 0, "cosine") <= 1
    assert [caption(page, i).input_value() for i in (0, 1)] == ["a large red circle", "a large blue circle"]
    assert re.search(r"\d ms", page.locator(".timing").inner_text())
    assert page.get_by_role("link", name="API").get_attribute("href") == "docs"


def test_scores_follow_typing_and_the_order_does_not_jump(visit: Visit) -> None:
    page = visit()
    settled(page)
    caption(page, 1).fill("a big red circle, but typed")
    caption(page, 0).fill("a small green star")
    settled(page)
    assert scored(page, 0) < 0.1
    assert caption(page, 0).input_value() == "a small green star"
    caption(page, 1).fill("a large red circle")
    settled(page)
    page.get_by_role("button", name="Sort").click()
    assert caption(page, 0).input_value() == "a large red circle"
    assert scored(page, 0) > 0.9


def test_fast_typing_gives_up_the_request_before(visit: Visit) -> None:
    page = visit()
    settled(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    caption(page, 1).press_sequentially(" and a star")
    settled(page)
    assert len([url for url in asked if url.endswith("/v1/match")]) < len(" and a star")


def test_an_answer_that_comes_late_is_not_shown_for_another_caption(visit: Visit) -> None:
    page = visit(before=lambda page: page.clock.install())
    settled(page)
    page.clock.pause_at(page.evaluate("() => Date.now()") / 1000 + 1)
    held: list[Any] = []
    page.route("**/v1/match", lambda route: held.append(route), times=1)
    caption(page, 0).fill("a small green star")
    with page.expect_request("**/v1/match"):
        page.clock.run_for(300)  # more than the pause in typing after which it asks
    caption(page, 0).press_sequentially("s")
    [route] = held
    answer = route.fetch()
    route.fulfill(response=answer, headers=answer.headers | {"server-timing": "device;dur=777.0"})
    page.get_by_text("777 ms").wait_for()
    assert row(page, 0).get_by_role("meter", name="ITM").inner_text().endswith("…")
    assert row(page, 1).get_by_role("meter", name="ITM").inner_text().endswith("0.00")
    page.clock.resume()
    settled(page)


def test_enter_makes_the_next_caption_and_backspace_takes_it_away(visit: Visit) -> None:
    page = visit()
    settled(page)
    caption(page, 0).focus()
    page.keyboard.press("Enter")
    page.keyboard.type("a red circle")
    assert caption(page, 1).input_value() == "a red circle"
    assert scored(page, 1) > 0.5
    page.keyboard.press("ArrowUp")
    assert caption(page, 0).evaluate("(field) => field === document.activeElement")
    caption(page, 1).fill("")
    caption(page, 1).press("Backspace")
    assert page.locator(".captions > li").count() == 2
    row(page, 1).get_by_role("button", name="Remove the caption").click()
    assert page.locator(".captions > li").count() == 1


def test_lines_that_are_pasted_become_captions(visit: Visit) -> None:
    page = visit()
    settled(page)
    page.evaluate(
        """() => {
          const field = document.querySelector(".captions input");
          const given = new DataTransfer();
          given.setData("text/plain", "one\\n two \\n\\nthree");
          field.select();
          field.dispatchEvent(new ClipboardEvent("paste", {clipboardData: given, bubbles: true, cancelable: true}));
        }"""
    )
    assert [caption(page, i).input_value() for i in range(3)] == ["one", "two", "three"]
    settled(page)


def test_a_word_under_the_pointer_lays_its_heat_over_the_picture(visit: Visit) -> None:
    page = visit()
    settled(page)
    heat = page.locator(".heat")
    assert heat.evaluate("(canvas) => getComputedStyle(canvas).opacity") == "0"
    word = row(page, 0).get_by_role("button", name="large", exact=True)
    word.hover()
    page.wait_for_selector(".heat.shown")
    place = heat.evaluate(HEAT_AT)
    assert 180 < place["opacity"] <= 0.8 * 255  # between the pixels in the middle of a cell
    assert 0.4 < place["x"] < 1  # the circle is on the right
    assert 0.15 < place["y"] < 0.65
    assert re.search("“large”: .*(right|upper|middle)", page.locator(".heat-note").inner_text())
    page.locator("h1").hover()
    page.wait_for_selector(".heat:not(.shown)", state="attached")
    assert page.locator(".heat-note").is_hidden()


def test_a_word_in_focus_shows_its_heat_and_is_described(visit: Visit) -> None:
    page = visit()
    settled(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    caption(page, 0).focus()
    page.keyboard.press("Tab")  # the button that removes it
    page.keyboard.press("Tab")
    page.wait_for_selector(".heat.shown")
    word = row(page, 0).get_by_role("button", name="a", exact=True)
    assert word.evaluate("(button) => button === document.activeElement")
    described = page.locator(f"#{word.get_attribute('aria-describedby')}").inner_text()
    assert described.startswith("“a”: ")
    page.keyboard.press("Tab")
    noted(page, "large")
    assert len([url for url in asked if url.endswith("/v1/explain")]) == 1  # the caption's words come together
    page.keyboard.press("Escape")
    page.wait_for_selector(".heat:not(.shown)", state="attached")


def test_words_are_found_behind_letters_of_two_halves(visit: Visit) -> None:
    page = visit()
    settled(page)
    caption(page, 0).fill("\N{PARTY POPPER}\N{PARTY POPPER} one circle")
    settled(page)
    row(page, 0).get_by_role("button", name="circle").hover()
    with page.expect_response("**/v1/explain") as answered:
        page.wait_for_selector(".heat.shown")
    words = answered.value.json()["data"][0]["words"]
    assert words[-1]["word"] == "circle"
    assert words[-1]["end"] - words[-1]["start"] == len("circle")
    assert page.locator(".heat-note").inner_text().startswith("“circle”: ")


def test_the_pointer_goes_before_the_focus_and_gives_it_back(visit: Visit) -> None:
    page = visit()
    settled(page)
    row(page, 0).get_by_role("button", name="red", exact=True).click()
    noted(page, "red")
    row(page, 1).get_by_role("button", name="blue", exact=True).hover()
    noted(page, "blue")
    assert page.locator(".words .shown").all_inner_texts() == ["blue"]
    page.locator("h1").hover()
    noted(page, "red")
    page.locator("h1").click()
    page.wait_for_selector(".heat:not(.shown)", state="attached")


def test_a_word_that_is_touched_stays_shown(visit: Visit) -> None:
    page = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    settled(page)
    word = row(page, 0).get_by_role("button", name="red", exact=True)
    box = word.bounding_box()
    assert box is not None
    assert box["height"] >= 44
    word.tap()
    page.wait_for_selector(".heat.shown")
    stage = page.locator(".stage").bounding_box()
    assert stage is not None
    assert stage["y"] + stage["height"] < box["y"]  # the picture comes first
    page.mouse.wheel(0, 500)
    page.wait_for_function("() => scrollY > 100")
    assert page.locator(".stage").evaluate("(stage) => stage.getBoundingClientRect().top") == 0  # and sticks
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("way", ["paste", "drop", "choose", "sample"])
def test_a_picture_is_given_by(visit: Visit, way: str) -> None:
    page = visit()
    settled(page)
    caption(page, 0).fill("a small pink star")
    settled(page)
    assert scored(page, 0) < 0.1
    if way == "choose":
        page.get_by_label("Choose a picture").set_input_files(STAR)
    elif way == "sample":
        page.get_by_role("button", name="Sample: a small pink star").click()
    else:
        data = base64.b64encode(STAR.read_bytes()).decode()
        page.evaluate(PASTED if way == "paste" else DROPPED, ["pink-star.png", data])
    page.wait_for_function("() => document.querySelector('.name').textContent === 'pink-star.png'")
    page.wait_for_function("() => Number(document.querySelector('[aria-label=ITM]').ariaValueNow) > 0.9")
    assert caption(page, 0).input_value() == "a small pink star"  # what was typed is kept


def test_captions_that_came_with_a_sample_go_with_it(visit: Visit) -> None:
    page = visit()
    settled(page)
    page.get_by_role("button", name="Sample: two small purple squares").click()
    settled(page)
    assert caption(page, 0).input_value() == "two small purple squares"
    assert scored(page, 0) > 0.9


def test_a_linked_picture_is_not_shown_but_scored_and_explained(visit: Visit, pictures: int) -> None:
    page = visit()
    settled(page)
    page.get_by_role("button", name="Link").click()
    page.get_by_label("Address of a picture").fill(f"http://127.0.0.1:{pictures}/red-circle.png")
    page.keyboard.press("Enter")
    page.get_by_text("It is not shown").wait_for()
    assert page.locator(".stage img").count() == 0
    caption(page, 0).fill("a large red circle")
    settled(page)
    assert scored(page, 0) > 0.9
    row(page, 0).get_by_role("button", name="circle").hover()
    page.wait_for_selector(".heat.shown")
    assert page.locator(".heat").evaluate("(canvas) => canvas.width === canvas.height")
    assert f"--form-string image=http://127.0.0.1:{pictures}/red-circle.png" in snippet(page, "curl")


def test_an_error_stands_at_the_picture_and_loses_nothing(visit: Visit) -> None:
    page = visit(expected=("status of 400",))
    settled(page)
    page.get_by_label("Choose a picture").set_input_files(
        {"name": "<img src=x onerror=alert(1)>.png", "mimeType": "image/png", "buffer": b"no picture"}
    )
    alert = page.locator(".panel [role=alert]")
    alert.wait_for()
    assert "field image" in alert.inner_text()
    assert page.locator(".name").inner_text() == "<img src=x onerror=alert(1)>.png"
    assert caption(page, 0).input_value()
    page.get_by_role("button", name="Sample: a large red circle").click()
    alert.wait_for(state="detached")
    settled(page)


def test_protocols_stand_side_by_side_and_the_address_leads_back(visit: Visit, demo: Service) -> None:
    page = visit()
    settled(page)
    page.get_by_label("Compare with").select_option("protocol")
    settled(page)
    assert row(page, 0).locator("h2").all_inner_texts() == ["hf", "paper"]
    assert row(page, 0).get_by_role("meter", name="ITM").count() == 2
    caption(page, 1).fill("a & b = c?")
    settled(page)
    again = visit(page.url.removeprefix(demo.url + "/"))
    settled(again)
    assert caption(again, 1).input_value() == "a & b = c?"
    assert row(again, 0).locator("h2").all_inner_texts() == ["hf", "paper"]


def test_back_leads_out_and_typing_is_no_step(visit: Visit) -> None:
    page = visit("livez", expected=("status of 404",))  # it has no icon
    page.goto(page.url.replace("livez", ""))
    settled(page)
    caption(page, 0).fill("a red circle")
    settled(page)
    page.go_back()
    assert page.url.endswith("/livez")
    page.go_forward()
    settled(page)
    assert caption(page, 0).input_value() == "a red circle"


def test_a_key_is_asked_for_and_lives_in_memory_only(visit: Visit) -> None:
    settings = fake_settings(auth=with_key("right"))
    with serving(settings, always(FakeModel("match")), ready=False) as service:
        page = visit(service=service, expected=("status of 401",))
        page.get_by_text("No API key given").wait_for()
        page.get_by_label("API key").fill("wrong")
        page.keyboard.press("Enter")
        page.get_by_text("The API key is wrong.").wait_for()
        page.get_by_label("API key").fill("right")
        page.keyboard.press("Enter")
        settled(page)
        assert '-H "Authorization: Bearer $API_KEY"' in snippet(page, "curl")
        assert 'os.environ["API_KEY"]' in snippet(page, "Python (openai)")
        kept = page.evaluate("() => JSON.stringify([localStorage, sessionStorage, document.cookie, location.href])")
        assert "right" not in kept
        page.reload()
        page.get_by_text("No API key given").wait_for()


def test_a_busy_service_is_waited_for(visit: Visit) -> None:
    page = visit(expected=("status of 429",))
    settled(page)
    told: list[dict[str, Any]] = [{"message": "The queue is full.", "type": "rate_limit_error", "code": "queue_full"}]

    def refused_once(route: Any) -> None:
        if told:
            route.fulfill(status=429, headers={"retry-after": "1"}, json={"error": told.pop()})
        else:
            route.fallback()

    page.route("**/v1/match", refused_once)
    caption(page, 0).fill("a red circle")
    page.get_by_text("The queue is full. Trying again in 1 s.").wait_for()
    assert scored(page, 0) > 0.5


def test_the_code_is_the_request_and_runs(visit: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = """it's "my" picture; $1.png"""
    (tmp_path / name).write_bytes(RED_CIRCLE.read_bytes())
    page = visit()
    settled(page)
    page.get_by_label("Choose a picture").set_input_files(tmp_path / name)
    caption(page, 0).fill(AWKWARD)
    caption(page, 1).fill("a large red circle")
    settled(page)
    row(page, 1).get_by_role("button", name="circle").hover()
    page.wait_for_selector(".heat.shown")
    scores = [scored(page, i) for i in range(page.locator(".captions > li").count())]
    monkeypatch.chdir(tmp_path)

    def ran(command: list[str]) -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=100).stdout

    answer = json.loads(ran(["bash", "-c", snippet(page, "curl")]))
    assert [pair["itm_score"] for pair in answer["data"]] == pytest.approx(scores, abs=1e-5)
    printed = ran([sys.executable, "-W", "error", "-c", snippet(page, "Python (openai)")])
    assert str(answer["data"][1]["itm_score"])[:6] in printed
    printed = ran([sys.executable, "-c", snippet(page, "Python (blip_serve)")])
    assert [float(line.split()[2]) for line in printed.splitlines()] == pytest.approx(scores, abs=0.02)
    page.get_by_role("button", name="v1/explain").click()
    answer = json.loads(ran(["bash", "-c", snippet(page, "curl")]))
    assert [word["word"] for word in answer["data"][0]["words"]] == ["a", "large", "red", "circle"]
    assert '"circle"' in ran(["bash", "-c", snippet(page, "curl")])
    assert ran([sys.executable, "-c", snippet(page, "Python (blip_serve)")]).startswith("a 0.")
    command = shlex.split(snippet(page, "CLI"))
    assert command[:3] == ["blip-serve", "explain", name]
    ran([sys.executable, "-m", "blip_serve", *command[1:]])
    assert list((tmp_path / "explained").iterdir())


def test_code_is_copied(visit: Visit) -> None:
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    settled(page)
    page.get_by_role("button", name="Copy").click()
    page.get_by_text("Copied", exact=True).first.wait_for()
    assert page.evaluate("() => navigator.clipboard.readText()") == page.get_by_label("Code").inner_text()
