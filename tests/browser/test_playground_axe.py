"""What axe-core finds on the playground: nothing, in any room or state, light, dark or on a phone."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import Visit

pytestmark = pytest.mark.browser

if TYPE_CHECKING:
    from playwright.sync_api import Page  # of the extra `browser`, which the other tests do without

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": PHONE,
}
NONE: Any = {"name": "none.png", "mimeType": "image/png", "buffer": b"no picture"}
SCORED = "() => document.querySelector('.bar') && !document.querySelector('.bar.unknown, [aria-busy]')"


def go(page: "Page", address: str) -> None:
    """Follows a link within the page."""
    page.evaluate("(address) => { location.hash = address; }", address)


def heated(page: "Page") -> None:
    """Match: the heat of a word, two columns of scores, and all that unfolds."""
    go(page, "#/match?c=a+large+red+circle&compare=protocol")
    page.locator(".scores h2").first.wait_for()
    page.get_by_text("What the numbers mean").click()
    page.get_by_role("button", name="Link").click()
    page.get_by_role("button", name="Key", exact=True).click()
    page.wait_for_function(SCORED)
    page.locator(".words button", has_text="large").first.focus()
    page.locator(".heat.shown").wait_for()


def refused(page: "Page") -> None:
    """Match: an error at the picture."""
    page.get_by_label("Choose a picture").set_input_files([NONE])
    page.locator(".panel .error").wait_for()


def written(page: "Page") -> None:
    """Caption: with more settings."""
    page.get_by_role("button", name="Sample: a large red circle").click()
    go(page, "#/caption?way=sampled&seed=1")
    page.get_by_text("More settings").click()
    page.locator(".written .words button").first.wait_for()


def answered(page: "Page") -> None:
    """Ask: any answer."""
    go(page, "#/ask?q=what+colour+is+the+circle%3F")
    page.get_by_role("meter", name="red").wait_for()


def chosen(page: "Page") -> None:
    """Ask: one of options."""
    go(page, "#/ask?o=red&o=blue")
    page.get_by_role("meter", name="blue").wait_for()


def ranked(page: "Page") -> None:
    """Rank: pictures, of which one is none."""
    go(page, "#/rank")
    page.locator(".ranked:not([aria-busy]) .bar").first.wait_for()
    page.get_by_label("Choose pictures").set_input_files([NONE])
    page.locator(".faulty").wait_for()


def ordered(page: "Page") -> None:
    """Rank: texts."""
    go(page, "#/rank?by=texts")
    page.wait_for_function(SCORED)


def carded(page: "Page") -> None:
    """Models: one card unfolded."""
    go(page, "#/models")
    page.get_by_text("How to call it").first.click()
    page.get_by_text("Measured on it").first.click()


STATES: tuple[Callable[["Page"], None], ...] = (heated, refused, written, answered, chosen, ranked, ordered, carded)


def found(page: "Page", rules: tuple[str, ...]) -> list[str]:
    """What axe-core has against the page as it is now, with the elements at fault. `rules`: these alone; else all."""
    from axe_playwright_python.sync_playwright import Axe

    options = {"resultTypes": ["violations"], **({"runOnly": rules} if rules else {})}
    violations = Axe().run(page, options=options).response["violations"]
    return [f"{each['impact']} {each['id']}: {[node['html'] for node in each['nodes']]}" for each in violations]


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing(visit: Visit, look: str) -> None:
    page = visit(expected=("status of 400",), reduced_motion="reduce", **LOOKS[look])
    page.wait_for_function(SCORED)
    faults = {}
    for state in STATES:
        state(page)
        if violations := found(page, ("color-contrast",) if look == "dark" else ()):
            faults[state.__doc__] = violations
    assert not faults
