"""The playground under attack: what visitors, links, settings and answers say stays text; no other page holds it."""

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from blip_serve.api.playground import PICTURES
from blip_serve.models.fake import FakeModel
from blip_serve.settings import ModelSettings
from tests.browser.conftest import Visit
from tests.browser.proxy import below
from tests.browser.test_playground_match import DROPPED, PASTED
from tests.support.server import Service, always, fake_settings, serving

pytestmark = pytest.mark.browser

if TYPE_CHECKING:
    from playwright.sync_api import Page  # of the extra `browser`, which the other tests do without

WATCHED = """
window.ran = [];
window.hack = (by) => window.ran.push(String(by));
addEventListener("securitypolicyviolation", (event) => window.ran.push(event.violatedDirective));
"""
IMG = "<img src=x onerror=hack(1)>"
SVG_TAG = "\"'><svg/onload=hack(2)>"
SCRIPT = "</textarea></title></script><script>hack(3)</script>"
LINK = "<a href=javascript:hack(4)>x</a><iframe srcdoc='<script>parent.hack(5)</script>'></iframe>"
TEMPLATE = "${hack(6)}{{constructor.constructor('hack(7)')()}}"
PAYLOADS = (IMG, SVG_TAG, SCRIPT, LINK, TEMPLATE)
MADE = "img[src=x], [onerror], [onload], b, svg, iframe, object, embed, base, body script, a[href^='javascript']"
"""Elements that the payloads would be, if they were read as HTML."""
SAID = ("description", "license", "owned_by", "error", "content", "word", "token", "choice")
"""Fields of answers that hold text for people."""
SVG = b"""<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64" onload="hack(8)">
<script>(window.opener ?? window.parent).hack(9); alert(9)</script>
<foreignObject width="9" height="9">
<img xmlns="http://www.w3.org/1999/xhtml" src="x" onerror="hack(10)"/></foreignObject>
<circle r="9" fill="red"/></svg>"""
RED_CIRCLE = (PICTURES / "red-circle.png").read_bytes()
REFUSED = ("status of 400",)


def encoded(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def go(page: "Page", address: str) -> None:
    """Follows a link within the page."""
    page.evaluate("(address) => { location.hash = address; }", address)


def settled(page: "Page") -> None:
    """Waits until the room has its scores."""
    page.wait_for_function(
        "() => document.querySelector('.bar') && !document.querySelector('.bar.unknown, [aria-busy]')"
    )


def picture(name: str, content: bytes = RED_CIRCLE, kind: str = "image/png") -> Any:
    return {"name": name, "mimeType": kind, "buffer": content}


@pytest.fixture
def attack(visit: Visit) -> Iterator[Visit]:
    """As `visit`; at the end nothing that came as text may have run, or become an element."""
    pages: list[Page] = []
    said: list[str] = []

    def told(dialog: Any) -> None:
        said.append(dialog.message)
        dialog.dismiss()

    def watch(page: "Page") -> None:
        page.add_init_script(WATCHED)
        page.on("dialog", told)
        pages.append(page)

    def opened(*given: Any, before: "Callable[[Page], Any]" = id, **more: Any) -> "Page":
        def watched(page: "Page") -> None:
            watch(page)
            before(page)

        return visit(*given, before=watched, **more)

    yield opened
    for page in pages:
        assert page.evaluate("() => window.ran") == []
        assert page.locator(MADE).count() == 0
    assert not said


def test_a_links_texts_stay_text_in_every_room(attack: Visit) -> None:
    page = attack(
        "#/match?" + "&".join(f"c={encoded(text)}" for text in PAYLOADS) + f"&model={encoded(IMG)}", expected=REFUSED
    )
    page.locator(".captions .error").wait_for()  # one has more tokens than the model reads
    fields = page.get_by_label("Caption", exact=True)
    assert [fields.nth(i).input_value() for i in range(len(PAYLOADS))] == list(PAYLOADS)
    go(page, f"#/match?c={encoded('<b>circle</b>')}")
    settled(page)
    page.locator(".words button").first.hover()
    page.locator(".heat.shown").wait_for()
    for room, asked in {
        "caption": "begin={0}&way={0}&n={0}&model={0}",
        "ask": "q={0}&o={1}&o={2}",
        "rank": "text={0}&by={1}&order={2}",
        "rank ": "by=texts&t={0}&t={1}&t={2}",
        "models": "id={0}",
        IMG: "{0}",
        "match/../": "c={0}",
    }.items():
        go(page, f"#/{room.strip()}?" + asked.format(*map(encoded, PAYLOADS)))
        page.wait_for_load_state("networkidle")
    go(page, f"#/models?id={encoded(IMG)}")
    page.get_by_text(f"No model is called {IMG}.").wait_for()


@pytest.mark.parametrize("name", ["constructor", "__proto__", "toString"])
def test_names_that_every_object_has_are_no_rooms_and_no_choices(attack: Visit, name: str) -> None:
    page = attack(f"#/{name}?c=a")
    settled(page)
    assert page.url.partition("#")[2].startswith("/match")
    go(page, f"#/match?protocol={name}&compare={name}&model={name}")
    settled(page)
    assert page.get_by_label("Scored as").input_value() == "hf"
    go(page, f"#/caption?way={name}")
    page.locator(".written .words button").first.wait_for()
    assert page.get_by_label("Greedy").is_checked()


def test_files_names_stay_text(attack: Visit) -> None:
    page = attack()
    settled(page)
    for text in PAYLOADS:
        name = f"{text.replace('/', chr(0x2215))}.png"  # no file's name has a slash
        page.get_by_label("Choose a picture").set_input_files([picture(name)])
        page.get_by_text(name, exact=True).wait_for()
        assert page.locator(".stage img").get_attribute("alt") == name
    settled(page)
    go(page, "#/rank")
    page.get_by_label("Choose pictures").set_input_files([picture(f"{IMG}.png"), picture(SVG_TAG.replace("/", " "))])
    page.locator(".ranked .name").filter(has_text="onerror").wait_for()
    page.get_by_label("Choose pictures").set_input_files([picture(f"{IMG}.txt", b"no picture", "text/plain")])
    page.get_by_text(f"{IMG}.txt is no picture.").wait_for()


@pytest.mark.parametrize("way", ["choose", "paste", "drop"])
def test_nothing_in_an_svg_runs(attack: Visit, way: str) -> None:
    page = attack(expected=REFUSED)
    settled(page)
    if way == "choose":
        page.get_by_label("Choose a picture").set_input_files([picture("a.svg", SVG, "image/svg+xml")])
    else:
        script = (PASTED if way == "paste" else DROPPED).replace("image/png", "image/svg+xml")
        page.evaluate(script, [base64.b64encode(SVG).decode(), "a.svg"][::-1])
    page.locator(".panel .error").wait_for()  # the service reads no SVG
    shown = page.locator(".stage img")
    page.wait_for_function("(img) => img.complete && img.naturalWidth", arg=shown.element_handle())
    with page.expect_popup() as opened:  # as "Open image in new tab" does: a document of the page's own origin
        page.evaluate("(url) => { window.open(url); }", shown.get_attribute("src"))
    opened.value.wait_for_load_state()
    assert opened.value.evaluate("() => document.documentElement.localName") == "svg"


def test_names_of_models_in_the_settings_stay_text(attack: Visit) -> None:
    hostile = ModelSettings(id=f"{IMG}{SVG_TAG}", source="/nowhere", aliases=(SCRIPT, LINK), preload=True)
    model = FakeModel("match", "embed", "caption", "answer")
    with serving(fake_settings(models=(hostile,)), always(model)) as service:
        page = attack(f"#/match?model={encoded(SCRIPT)}&c=a+dog", service)
        settled(page)
        assert page.locator("#choice select").input_value() == hostile.id
        for room in ("caption", "ask", "rank", "models"):
            go(page, f"#/{room}")
            page.wait_for_load_state("networkidle")
        page.get_by_role("link", name=hostile.id).click()
        page.get_by_text("Also called").wait_for()
        assert f"{SCRIPT}, {LINK}" in page.locator(".card").inner_text()


def test_what_a_server_says_stays_text(attack: Visit) -> None:
    def spoilt(value: Any) -> Any:
        """The same with markup in place of each text that is for people."""
        if isinstance(value, dict):
            return {
                key: SVG_TAG if key in SAID and isinstance(each, str) else spoilt(each) for key, each in value.items()
            }
        return [spoilt(each) for each in value] if isinstance(value, list) else value

    def spoil(route: Any) -> None:
        answer = route.fetch()
        kept = {name: value for name, value in answer.headers.items() if name != "content-length"}
        if "event-stream" in kept["content-type"]:
            lines = answer.text().splitlines()
            given = [
                line if not line.startswith("data: {") else f"data: {json.dumps(spoilt(json.loads(line[6:])))}"
                for line in lines
            ]
            route.fulfill(status=200, headers=kept, body="\n".join(given) + "\n\n")
        else:
            kept["server-timing"] = f"device;dur=9.0, {IMG};dur=9.0"
            route.fulfill(status=answer.status, headers=kept, json=spoilt(answer.json()))

    page = attack("#/models", expected=REFUSED, before=lambda page: page.route("**/v1/**", spoil))
    page.get_by_text(SVG_TAG).first.wait_for()
    go(page, "#/match?c=a+large+red+circle")
    settled(page)
    page.locator(".words button").first.hover()
    page.locator(".heat.shown").wait_for()
    go(page, "#/caption")
    page.locator(".written .words button").first.wait_for()
    go(page, "#/ask")
    settled(page)
    assert "svg/onload" in page.locator(".answer").inner_text()


def test_errors_that_quote_stay_text(attack: Visit) -> None:
    def refuse(route: Any) -> None:
        error = {"message": f"No {IMG}.", "type": SCRIPT, "code": SVG_TAG, "param": f"image{LINK}"}
        route.fulfill(status=400, json={"error": error})

    page = attack("#/match?c=a", expected=REFUSED, before=lambda page: page.route("**/v1/match", refuse))
    page.get_by_text(f"No {IMG}.").wait_for()
    assert LINK in page.locator(".error").inner_text()
    go(page, f"#/caption?begin={encoded(IMG)}&way=beams&num_beams=500")
    page.locator(".answers .error").wait_for()
    page.get_by_role("button", name="Link").click()
    for text in (f"javascript:hack(1)//{IMG}", f"data:text/html,{SCRIPT}", f"https://{IMG}"):
        page.get_by_label("Address of a picture").fill(text)
        page.locator(".panel form").evaluate("(form) => { form.noValidate = true; form.requestSubmit(); }")
        page.get_by_text("An address begins with").wait_for()


def test_code_of_a_hostile_link_does_nothing_else(
    attack: Visit, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = (
        "x'; touch hacked; '",
        "$(touch hacked)`touch hacked`",
        "\x03\ntouch hacked\n",
        "\\'\n;touch hacked #\x1b[201~",
    )
    monkeypatch.chdir(tmp_path)
    page = attack("#/rank?by=texts&" + "&".join(f"t={encoded(text)}" for text in texts))
    settled(page)
    page.get_by_role("button", name="curl", exact=True).click()
    code = page.get_by_label("Code").inner_text()
    assert "\x03" not in code
    assert "\x1b" not in code
    said = subprocess.run(
        ["bash", "-c", f"curl() {{ printf '%s\\0' \"$@\"; }}; {code}"], check=True, capture_output=True, text=True
    ).stdout.split("\0")
    assert [each.removeprefix("caption=") for each in said if each.startswith("caption=")] == list(texts)
    assert not list(tmp_path.iterdir())


def test_another_page_can_neither_frame_it_nor_keep_hold_of_it(
    open_page: "Callable[[str], Page]", pages: int, demo: Service
) -> None:
    foreign = open_page(f"http://pages.test:{pages}/")
    for url, framed in ((f"http://other.test:{pages}/", True), (f"{demo.url}/", False), (f"{demo.url}/docs", False)):
        with foreign.expect_event("framenavigated", lambda frame: frame.name == "held"):
            foreign.evaluate(
                """(url) => {
                  document.querySelector("[name=held]")?.remove();
                  document.body.append(Object.assign(document.createElement("iframe"), {name: "held", src: url}));
                }""",
                url,
            )
        [held] = [frame for frame in foreign.frames if frame.name == "held"]
        assert (held.title() == "a page") == framed
        assert "blip-serve" not in held.content() or framed
    with foreign.expect_popup() as opened:
        foreign.evaluate("(url) => { window.held = window.open(url); }", demo.url)
    opened.value.get_by_role("heading", name="How well does each caption fit?").wait_for()
    assert opened.value.evaluate("() => window.opener") is None
    assert foreign.evaluate("() => window.held.closed")


def test_all_rooms_work_below_a_proxys_path(visit: Visit, demo: Service) -> None:
    with below("/some/path/", demo.url) as (address, astray):
        page = visit(service=replace(demo, url=address.removesuffix("/")))
        settled(page)
        page.get_by_role("button", name="curl", exact=True).click()
        assert f"{address}v1/match" in page.get_by_label("Code").inner_text()
        page.locator(".words button").first.hover()
        page.locator(".heat.shown").wait_for()
        page.get_by_role("link", name="Caption").click()
        page.locator(".written .words button").first.wait_for()
        for room in ("Ask", "Rank"):
            page.get_by_role("link", name=room).click()
            settled(page)
        page.get_by_role("link", name="Models").click()
        page.locator(".card").first.wait_for()
        page.get_by_role("link", name="API").click()
        page.get_by_text("Who calls").or_(page.locator("#swagger-ui .info")).first.wait_for()
    assert not astray
